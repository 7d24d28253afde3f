//! Explains failed TLS handshakes, with advice.

use std::error::Error as StdError;
use std::io;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, Error};

use super::tls::is_ca_as_end_entity;

/// Where trusted certificates are configured.
const CA_SETTING: &str = "as the CA certificate (ca_certificate, STORE_CA_CERTIFICATE)";

/// Where the client certificate is configured.
const CLIENT_SETTING: &str = "client_certificate and client_key (STORE_CLIENT_CERTIFICATE and STORE_CLIENT_KEY)";

/// Returns the explanation if an error is about TLS.
pub(super) fn cause(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<Error>() {
            return Some(explain(found));
        }
        // An I/O error's `source` skips the error that it wraps.
        let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = within.map(|within| within as &(dyn StdError + 'static)).or_else(|| error.source());
    }
    None
}

fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => server_certificate_reason(error),
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            format!("the server requires a client certificate: set {CLIENT_SETTING}")
        }
        Error::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::HandshakeFailure),
        ) => format!("the server rejects the client certificate, or requires one ({alert:?}): check {CLIENT_SETTING}"),
        Error::InvalidMessage(_) => {
            format!("the server does not use TLS: should the address begin with http://? ({error})")
        }
        other => other.to_string(),
    }
}

/// Explains why a server's certificate is not trusted.
fn server_certificate_reason(error: &CertificateError) -> String {
    let reason = match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired, or this machine's clock is wrong".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet: is this machine's clock right?".to_owned()
        }
        CertificateError::NotValidForName => format!("it is not valid for this host. {}", creation_command(None)),
        CertificateError::NotValidForNameContext { expected, presented } if presented.is_empty() => {
            let host = expected.to_str();
            format!("it has no subjectAltName, so it is not valid for {host}. {}", creation_command(Some(expected)))
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let (host, names) = (expected.to_str(), presented.join(", "));
            format!("it is valid for {names}, not for {host}. {}", creation_command(Some(expected)))
        }
        CertificateError::UnknownIssuer => {
            format!("its issuer is not trusted: set the issuer's certificate, or this one, {CA_SETTING}")
        }
        CertificateError::BadSignature => {
            format!("its signature does not match the CA certificate: set its issuer's certificate {CA_SETTING}")
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            format!("it is not for use by servers (extendedKeyUsage). {}", creation_command(None))
        }
        CertificateError::Other(cause) if is_ca_as_end_entity(cause) => {
            format!("it is a CA certificate, and not a configured one: set this certificate itself {CA_SETTING}")
        }
        other => format!("{other}. {}", creation_command(None)),
    };
    format!("the server's certificate is not trusted: {reason}")
}

/// Describes how to create a certificate for a host.
fn creation_command(host: Option<&ServerName<'_>>) -> String {
    let (kind, host) = match host {
        Some(ServerName::IpAddress(_)) => ("IP", host.map_or_else(String::new, |host| host.to_str().into_owned())),
        Some(name) => ("DNS", name.to_str().into_owned()),
        None => ("DNS", "HOST".to_owned()),
    };
    format!(
        "Create one with: openssl req -x509 -newkey rsa:2048 -nodes -days 365 -keyout node.key -out node.crt -subj /CN={host} \
         -addext subjectAltName={kind}:{host}"
    )
}
