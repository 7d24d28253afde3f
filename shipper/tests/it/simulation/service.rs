//! Services, and the lines that they write to pipes and files.
//!
//! Each line has its own number, written `#12#`, which identifies it in documents.

use store::Timestamp;

use super::engine::{BREAKER, CRASHER, POISON, SPOILER};
use super::random::Random;

/// Longer lines are truncated.
pub(super) const LINE_MAX_BYTES: usize = 200;

/// Generates lines.
pub(super) struct Lines {
    next: u64,
    random: Random,
    /// Some make their requests fail, or make the store fail permanently.
    hopeless: bool,
    /// Some are rejected alone.
    has_poison: bool,
}

impl Lines {
    pub(super) fn new(random: Random, hopeless: bool, has_poison: bool) -> Self {
        Self { next: 0, random, hopeless, has_poison }
    }

    /// Returns a good line of a day, which shows that the store accepts lines.
    pub(super) fn good(&mut self, day: &str) -> String {
        let number = self.next;
        self.next += 1;
        format!(
            "{{\"timestamp\":\"{day}T12:00:00.000Z\",\"service\":\"s\",\"level\":\"info\",\"message\":\"#{number}#\",\
             \"request_id\":null,\"project_id\":null}}"
        )
    }

    /// Returns another line without its newline, and its number; the empty line has none.
    pub(super) fn line(&mut self, wall: Timestamp, as_text: bool) -> (Option<u64>, Vec<u8>) {
        let random = &mut self.random;
        let number = self.next;
        self.next += 1;
        if self.hopeless && random.one_in(20) {
            let note = [CRASHER, BREAKER][random.between(0, 1)];
            return (Some(number), format!("{{\"n\":\"#{number}#\",\"note\":\"{note}\"}}").into_bytes());
        }
        let line = match random.between(0, 14) {
            0 | 1 => format!("plain text #{number}#"),
            2 if self.has_poison => format!("{{\"n\":\"#{number}#\",\"note\":\"{POISON}\"}}"),
            3 if self.hopeless && random.one_in(4) => format!("{{\"n\":\"#{number}#\",\"note\":\"{SPOILER}\"}}"),
            4 => format!("{{\"n\":\"#{number}#\",\"n\":\"twice\"}}"),
            5 if random.one_in(3) => format!("#{number}# {}", "long ".repeat(random.between(30, 200))),
            5 if random.one_in(2) => format!("{{\"n\":\"#{number}# {}\"}}", "long ".repeat(random.between(30, 60))),
            5 => format!("{{\"n\":\"#{number}# cut \\ud83d\"}}"),
            6 => return (None, Vec::new()),
            7 => format!("{{\"n\":\"#{number}#\"}}"),
            8 => {
                format!("{{\"time\":\"{}-01-01T00:00:00Z\",\"n\":\"#{number}#\"}}", [1970, 9999][random.between(0, 1)])
            }
            9 => format!("{{\"origin\":{{}},\"n\":\"#{number}#\"}}"),
            10 if !as_text => {
                return (Some(number), [b"\xff\x00\x1b #", number.to_string().as_bytes(), b"#\r"].concat());
            }
            _ => format!(
                "{{\"timestamp\":\"{wall}\",\"service\":\"s\",\"level\":\"info\",\"message\":\"#{number}#\",\
                 \"request_id\":null,\"project_id\":null}}"
            ),
        };
        (Some(number), line.into_bytes())
    }
}

/// Returns the number of a line, or of its document.
pub(super) fn number_in(bytes: &[u8]) -> Option<u64> {
    let mut parts = bytes.split(|byte| *byte == b'#').skip(1);
    let number = parts.find_map(|part| std::str::from_utf8(part).ok()?.parse().ok())?;
    // A number that is truncated after its digits may have had more.
    parts.next().map(|_| number)
}
