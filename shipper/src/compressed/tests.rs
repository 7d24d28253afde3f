//! Tests the decoder with the output of gzip and zstd: complete, damaged, cut, in many members, and read in any order.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;
use crate::disk::Stat;

/// A file in memory.
#[derive(Default)]
struct Bytes {
    bytes: Mutex<Vec<u8>>,
    read: AtomicU64,
    fails: AtomicBool,
}

impl DiskFile for Bytes {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(io::Error::other("the disk fails"));
        }
        let bytes = self.bytes.lock();
        let rest = bytes.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.bytes.lock().truncate(usize::try_from(len).unwrap());
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn stat(&self) -> io::Result<Stat> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn unpacked(bytes: Vec<u8>, compression: Compression) -> Unpacked<Bytes> {
    Unpacked::new(Arc::new(Bytes { bytes: Mutex::new(bytes), ..Bytes::default() }), compression)
}

fn pack(content: &[u8], compression: Compression) -> Vec<u8> {
    match compression {
        Compression::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Zstd => zstd::encode_all(content, 1).unwrap(),
    }
}

/// Distinct lines.
fn lines(bytes: usize) -> Vec<u8> {
    let mut content = Vec::with_capacity(bytes + 64);
    let mut number = 0_u64;
    while content.len() < bytes {
        number += 1;
        writeln!(content, "{{\"n\":{number},\"m\":\"{:x}\"}}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).unwrap();
    }
    content.truncate(bytes);
    content
}

fn read(unpacked: &Unpacked<Bytes>, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0xee; len];
    let count = unpacked.read_at(&mut buffer, offset)?;
    buffer.truncate(count);
    Ok(buffer)
}

const BOTH: [Compression; 2] = [Compression::Gzip, Compression::Zstd];

fn compression() -> impl Strategy<Value = Compression> {
    prop::sample::select(BOTH.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_read_of_any_content_is_as_of_the_plain_file(
        compression in compression(),
        len in prop_oneof![0_usize..200, 0_usize..300_000, 1_000_000_usize..1_700_000],
        noise in prop::collection::vec(any::<u8>(), 0..3_000),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        skipped in any::<bool>(),
        reads in prop::collection::vec((any::<prop::sample::Index>(), 1_usize..700_000, any::<bool>()), 1..12),
    ) {
        let mut content = lines(len);
        content.extend_from_slice(&noise);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(content.len() + 1)).collect();
        cuts.extend([0, content.len()]);
        cuts.sort_unstable();
        let mut packed = Vec::new();
        for pair in cuts.windows(2) {
            if skipped && compression == Compression::Zstd {
                packed.extend_from_slice(b"\x53\x2a\x4d\x18\x05\0\0\0hello");
            }
            packed.extend(pack(&content[pair[0]..pair[1]], compression));
        }
        if skipped && compression == Compression::Gzip {
            packed.extend([0; 513]);
        }
        prop_assert_eq!(magic(&packed[..packed.len().min(MAGIC_BYTES)]), Some(Magic::Readable(compression)));
        let unpacked = unpacked(packed, compression);
        let mut next = 0;
        for (at, len, goes_on) in reads {
            let offset = if goes_on { next } else { at.index(content.len() + 10) };
            let expected = &content[offset.min(content.len())..offset.saturating_add(len).min(content.len())];
            let found = read(&unpacked, offset as u64, len).unwrap();
            prop_assert!(found == expected, "{offset}, {len}");
            next = (offset + found.len()).saturating_sub(len / 3);
            if goes_on {
                unpacked.advance(10_000).unwrap();
            }
        }
        prop_assert_eq!(unpacked.len().unwrap(), content.len() as u64);
        prop_assert_eq!(unpacked.advance(1).unwrap(), Progress::Complete(content.len() as u64));
    }

    #[test]
    fn a_file_that_is_still_being_written_is_read_as_far_as_it_goes_and_then_on(
        compression in compression(),
        len in 0_usize..40_000,
        cut in any::<prop::sample::Index>(),
    ) {
        let content = lines(len);
        let (first, second) = content.split_at(content.len() / 2);
        let first_packed = pack(first, compression);
        let whole = [first_packed.clone(), pack(second, compression)].concat();
        let cut = cut.index(whole.len());
        let unpacked = unpacked(whole[..cut].to_vec(), compression);
        if cut == first_packed.len() {
            prop_assert_eq!(unpacked.len().unwrap(), first.len() as u64);
            return Ok(());
        }
        prop_assert_eq!(unpacked.len().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let there = usize::try_from(unpacked.measured()).unwrap();
        prop_assert!(read(&unpacked, 0, there).unwrap() == content[..there]);
        prop_assert_eq!(read(&unpacked, there as u64, 1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        unpacked.file().append(&whole[cut..]).unwrap();
        prop_assert!(read(&unpacked, there as u64, content.len()).unwrap() == content[there..]);
        prop_assert_eq!(unpacked.len().unwrap(), content.len() as u64);
    }

    #[test]
    fn damage_is_an_error_or_nothing_at_all(
        compression in compression(),
        len in 1_usize..40_000,
        at in any::<prop::sample::Index>(),
        change in 1_u8..,
    ) {
        let content = lines(len);
        let mut packed = pack(&content, compression);
        let at = at.index(packed.len());
        packed[at] ^= change;
        let unpacked = unpacked(packed, compression);
        match unpacked.len() {
            Ok(len) => {
                let found = read(&unpacked, 0, usize::try_from(len).unwrap() + 1).unwrap();
                prop_assert_eq!(found.len() as u64, len);
                // A header contains no content. zstd's command line adds a checksum, the library does not.
                prop_assert!(found == content || compression == Compression::Zstd);
            }
            Err(error) => {
                let again = unpacked.len().unwrap_err();
                prop_assert_eq!(again.kind(), error.kind());
                let end = unpacked.measured();
                prop_assert_eq!(read(&unpacked, end, 1).unwrap_err().kind(), error.kind());
                prop_assert_eq!(read(&unpacked, 0, usize::try_from(end).unwrap()).unwrap().len() as u64, end);
                prop_assert_eq!(read(&unpacked, end, 1).unwrap_err().kind(), error.kind());
            }
        }
    }
}

#[test]
fn data_after_the_content_is_padding_or_damage() {
    for (compression, after, is_padding) in [
        (Compression::Gzip, &[0; 100_000][..], true),
        (Compression::Gzip, b"x", false),
        (Compression::Gzip, b"\0\0x", false),
        (Compression::Gzip, b"\0\x1f\x8b", false),
        (Compression::Gzip, b"\x1f\x8b\x07\0\0\0\0\0\0\0", false),
        (Compression::Zstd, b"\0\0\0\0", false),
        (Compression::Zstd, b"some text", false),
    ] {
        let unpacked = unpacked([pack(b"content\n", compression), after.to_vec()].concat(), compression);
        match unpacked.len() {
            Ok(len) => assert!(is_padding && len == 8, "{after:?}"),
            Err(error) => assert!(!is_padding && error.kind() == io::ErrorKind::InvalidData, "{after:?}: {error}"),
        }
        assert_eq!(read(&unpacked, 0, 8).unwrap(), b"content\n", "the content can be read");
        assert_eq!(unpacked.measured(), 8);
    }
}

#[test]
fn forward_reads_with_short_steps_back_decode_once() {
    for compression in BOTH {
        let content = lines(4 << 20);
        let packed = pack(&content, compression);
        let size = packed.len() as u64;
        let unpacked = unpacked(packed, compression);
        let mut offset = 0;
        while offset < content.len() {
            let found = read(&unpacked, offset as u64, BACK_BYTES + 1).unwrap();
            assert!(found == content[offset..offset + found.len()]);
            assert!(read(&unpacked, 0, HEAD_BYTES).unwrap() == content[..HEAD_BYTES]);
            offset += found.len().min(3_000).max(found.len() / 2);
        }
        assert!(unpacked.file().read.load(Ordering::Relaxed) <= size, "{compression:?}");
        let far_back = 8_000;
        assert!(read(&unpacked, far_back, 9).unwrap() == content[8_000..8_009]);
        assert!(unpacked.file().read.load(Ordering::Relaxed) > size, "{compression:?}: the window must be limited");
    }
}

#[test]
fn a_seek_takes_small_steps_and_a_read_there_decodes_nothing() {
    for compression in BOTH {
        let content = lines(6 << 20);
        let packed = pack(&content, compression);
        let size = packed.len() as u64;
        let unpacked = unpacked(packed, compression);
        let (place, mut steps) = (5 << 20, 0);
        loop {
            let mut budget = 1 << 20;
            let is_there = unpacked.seek(place, &mut budget).unwrap();
            steps += 1;
            if is_there {
                break;
            }
            assert_eq!(budget, 0);
        }
        assert!(steps >= 5, "{steps}");
        let at = usize::try_from(place).unwrap();
        assert!(read(&unpacked, place - TAIL_BYTES, 256).unwrap() == content[at - 256..at]);
        assert!(read(&unpacked, place, 1 << 20).unwrap() == content[at..]);
        assert!(unpacked.file().read.load(Ordering::Relaxed) <= size, "{compression:?}");
        assert!(unpacked.seek(1 << 30, &mut 1).unwrap(), "the end is reached");
    }
}

#[test]
fn a_bomb_is_measured_in_small_steps_and_read_in_limited_memory() {
    const LEN: usize = 48 << 20;
    for compression in BOTH {
        let packed = pack(&vec![0; LEN], compression);
        assert!(packed.len() < LEN / 100);
        let unpacked = unpacked(packed, compression);
        let (mut before, mut steps) = (0, 0);
        while let Progress::Partial(now) = unpacked.advance(1 << 20).unwrap() {
            assert!(now - before < (1 << 20) + CHUNK_BYTES as u64);
            (before, steps) = (now, steps + 1);
        }
        assert!(steps >= 47, "{steps}");
        assert_eq!(unpacked.len().unwrap(), LEN as u64);
        assert_eq!(read(&unpacked, LEN as u64 - 1, 2).unwrap(), [0]);
        let state = unpacked.state.lock();
        assert!(state.reading.as_ref().unwrap().window.capacity() <= 2 * BACK_BYTES + CHUNK_BYTES);
        assert!(state.measuring.is_none(), "it has ended");
    }
}

#[test]
fn a_file_of_empty_members_is_measured_in_small_steps() {
    for (compression, member) in [
        (Compression::Gzip, pack(b"", Compression::Gzip)),
        (Compression::Zstd, b"\x50\x2a\x4d\x18\x10\0\0\0................".to_vec()),
    ] {
        let packed = member.repeat((4 << 20) / member.len());
        let size = packed.len() as u64;
        let unpacked = unpacked(packed, compression);
        let mut steps = 1;
        while unpacked.advance(1).unwrap() != Progress::Complete(0) {
            steps += 1;
        }
        assert!(steps >= 15, "{compression:?}: {steps}");
        assert_eq!(unpacked.file().read.load(Ordering::Relaxed), size);
    }
}

#[test]
fn a_too_large_window_is_rejected_with_advice() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&lines(100_000)).unwrap();
    encoder.flush().unwrap();
    let unpacked = unpacked(encoder.finish().unwrap(), Compression::Zstd);
    let error = unpacked.len().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("without --long"), "{error}");
    assert_eq!(read(&unpacked, 0, 1).unwrap_err().kind(), io::ErrorKind::Unsupported);
}

#[test]
fn levels_up_to_19_are_read() {
    let content = lines(100_000);
    for level in [1, 3, 19] {
        // Compressed like a pipe: the frame declares the maximum window of the level, since the size is unknown.
        let unpacked = unpacked(zstd::encode_all(&*content, level).unwrap(), Compression::Zstd);
        assert_eq!(unpacked.len().unwrap(), content.len() as u64, "level {level}");
    }
}

#[test]
fn a_disk_error_is_returned_and_may_be_temporary() {
    for compression in BOTH {
        let content = lines(900_000);
        let unpacked = unpacked(pack(&content, compression), compression);
        assert!(read(&unpacked, 0, 300_000).unwrap() == content[..300_000]);
        unpacked.advance(1).unwrap();
        unpacked.file().fails.store(true, Ordering::Relaxed);
        assert_eq!(read(&unpacked, 899_999, 1).unwrap_err().to_string(), "the disk fails");
        assert_eq!(unpacked.len().unwrap_err().to_string(), "the disk fails");
        unpacked.file().fails.store(false, Ordering::Relaxed);
        assert!(read(&unpacked, 0, content.len()).unwrap() == content);
        assert_eq!(unpacked.len().unwrap(), content.len() as u64);
    }
}
