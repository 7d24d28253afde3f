//! TLS settings: trusted servers, and the client certificate.
//!
//! webpki verifies a server's certificate against the usual authorities and the configured certificates. It rejects a
//! CA certificate as a server's own, which is what a plain `openssl req -x509` creates. Such a certificate is trusted
//! if it is identical to a configured one, and only for the hosts in its `subjectAltName`.

use std::error::Error as StdError;
use std::path::Path;
use std::sync::Arc;

use memchr::memmem;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

use crate::error::OpenError;
use crate::settings::{ClientCertificate, EngineSettings};

/// DER encoding of the extension `extendedKeyUsage`, and of its usage `serverAuth`.
const EXTENDED_KEY_USAGE: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x25];
const SERVER_AUTH: &[u8] = &[0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];

/// Creates the TLS settings of a client.
pub(super) fn config(settings: &EngineSettings) -> Result<ClientConfig, OpenError> {
    let provider = Arc::new(ring::default_provider());
    let trusted = settings.ca_certificate.as_deref().map(read_certificates).transpose()?.unwrap_or_default();
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = &settings.ca_certificate {
        for certificate in &trusted {
            roots.add(certificate.clone()).map_err(|error| unusable(path, error.to_string()))?;
        }
    }
    let client = |error: &dyn StdError| OpenError::Client(error.to_string());
    let verifier = Verifier::new(roots, trusted, Arc::clone(&provider)).map_err(|error| client(&error))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| client(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    match &settings.client_certificate {
        None => Ok(builder.with_no_client_auth()),
        Some(files) => {
            let (chain, key) = read_identity(files)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                let reason = match error {
                    Error::InconsistentKeys(_) => "the key does not match the client certificate".to_owned(),
                    other => other.to_string(),
                };
                unusable(&files.key, reason)
            })
        }
    }
}

/// Reads the certificates of a PEM file; there must be at least one.
fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, OpenError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found = found.map_err(|error| unusable(path, error.to_string()))?;
    if found.is_empty() {
        let advice =
            "it contains no PEM certificate (BEGIN CERTIFICATE). Convert DER with: openssl x509 -inform der -in FILE";
        return Err(unusable(path, advice.to_owned()));
    }
    Ok(found)
}

/// Reads the chain and the key of the client certificate.
fn read_identity(
    files: &ClientCertificate,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), OpenError> {
    let chain = read_certificates(&files.certificate)?;
    let pem = std::fs::read(&files.key).map_err(|error| unusable(&files.key, error.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        let is_encrypted = memmem::find(&pem, b"ENCRYPTED").is_some();
        let advice = if is_encrypted {
            "the key is encrypted: decrypt it with openssl pkey -in FILE -out FILE2"
        } else {
            "it contains no PEM private key (BEGIN PRIVATE KEY)"
        };
        unusable(&files.key, advice.to_owned())
    })?;
    Ok((chain, key))
}

fn unusable(path: &Path, reason: String) -> OpenError {
    OpenError::Certificate { path: path.to_owned(), reason }
}

/// webpki's verification, extended to a configured CA certificate that is the server's own.
#[derive(Debug)]
struct Verifier {
    webpki_verifier: Arc<WebPkiServerVerifier>,
    trusted: Vec<CertificateDer<'static>>,
}

impl Verifier {
    fn new(
        roots: RootCertStore,
        trusted: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, rustls::client::VerifierBuilderError> {
        let webpki_verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        Ok(Self { webpki_verifier, trusted })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let webpki_verifier =
            self.webpki_verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let Err(Error::InvalidCertificate(CertificateError::Other(cause))) = &webpki_verifier else {
            return webpki_verifier;
        };
        // webpki has checked the validity period before it returns this error.
        if !is_ca_as_end_entity(cause) || !self.trusted.iter().any(|trusted| trusted == end_entity) {
            return webpki_verifier;
        }
        if !is_for_servers(end_entity) {
            return Err(Error::InvalidCertificate(CertificateError::InvalidPurpose));
        }
        rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki_verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki_verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki_verifier.supported_verify_schemes()
    }
}

pub(super) fn is_ca_as_end_entity(cause: &OtherError) -> bool {
    matches!(cause.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

/// Whether a certificate may be used by servers: it has no list of usages, or one that includes servers.
fn is_for_servers(certificate: &[u8]) -> bool {
    memmem::find(certificate, EXTENDED_KEY_USAGE).is_none() || memmem::find(certificate, SERVER_AUTH).is_some()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;

    /// The expiry time of the test certificates, and a time before it.
    const NOW: Duration = Duration::from_secs(1_900_000_000);
    const TOO_LATE: Duration = Duration::from_secs(5_000_000_000);

    fn path(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
    }

    /// Verifies a server's certificate, with `given` as the file of trusted certificates.
    fn verify(trusted: &str, shown: &str, host: &str, at: Duration) -> Result<(), Error> {
        let trusted = read_certificates(&path(trusted)).unwrap();
        let mut roots = RootCertStore::empty();
        trusted.iter().for_each(|certificate| roots.add(certificate.clone()).unwrap());
        let verifier = Verifier::new(roots, trusted, Arc::new(ring::default_provider())).unwrap();
        let shown = read_certificates(&path(shown)).unwrap();
        let host = ServerName::try_from(host).unwrap();
        let verify = verifier.verify_server_cert(&shown[0], &[], &host, &[], UnixTime::since_unix_epoch(at));
        verify.map(|_| ())
    }

    #[test]
    fn a_configured_self_signed_certificate_is_trusted_for_its_hosts_only() {
        for (trusted, host) in [("ip.pem", "127.0.0.1"), ("name.pem", "engine.test"), ("server.pem", "127.0.0.1")] {
            assert_eq!(
                verify(if trusted == "server.pem" { "authority.pem" } else { trusted }, trusted, host, NOW),
                Ok(())
            );
        }
        for (trusted, shown, host, at) in [
            ("ip.pem", "ip.pem", "127.0.0.2", NOW),
            ("ip.pem", "ip.pem", "localhost", NOW),
            ("name.pem", "name.pem", "other.test", NOW),
            ("name.pem", "name.pem", "a.engine.test", NOW),
            ("only-cn.pem", "only-cn.pem", "engine.test", NOW),
            ("ip.pem", "impostor.pem", "127.0.0.1", NOW),
            ("authority.pem", "ip.pem", "127.0.0.1", NOW),
            ("for-clients.pem", "for-clients.pem", "127.0.0.1", NOW),
            ("ip.pem", "ip.pem", "127.0.0.1", TOO_LATE),
            ("ip.pem", "ip.pem", "127.0.0.1", Duration::from_secs(1)),
        ] {
            assert!(verify(trusted, shown, host, at).is_err(), "{trusted} {shown} {host} {at:?}");
        }
    }

    #[test]
    fn unusable_files_are_rejected_with_advice() {
        let settings = |authority: Option<&str>, client: Option<(&str, &str)>| EngineSettings {
            ca_certificate: authority.map(path),
            client_certificate: client
                .map(|(certificate, key)| ClientCertificate { certificate: path(certificate), key: path(key) }),
            ..EngineSettings::default()
        };
        assert!(config(&settings(Some("ip.pem"), Some(("client.pem", "client.key")))).is_ok());
        for (settings, words) in [
            (settings(Some("none.pem"), None), "none.pem"),
            (settings(Some("client.key"), None), "no PEM certificate"),
            (settings(None, Some(("client.key", "client.key"))), "no PEM certificate"),
            (settings(None, Some(("client.pem", "client.pem"))), "no PEM private key"),
            (settings(None, Some(("client.pem", "client-encrypted.key"))), "openssl pkey"),
            (settings(None, Some(("client.pem", "server.key"))), "does not match the client certificate"),
        ] {
            let error = config(&settings).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
