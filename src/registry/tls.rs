//! Certificates: which are trusted, and which is shown.
//!
//! A static binary has no roots of its own, and does not need any: the system's are read (`SSL_CERT_FILE`, `SSL_CERT_DIR`,
//! then where distributions keep them), so an administrator's changes count, and the binary does not grow by a list that
//! ages. Where there are none, the error says which package brings them.

use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use super::endpoint::{Identity, Tls};
use crate::error;

/// The largest file of certificates that is read.
const PEM_MAX_BYTES: u64 = 4 << 20;

/// Returns the configuration for an endpoint; only the registry itself sees our certificate.
pub(crate) fn config(tls: &Tls, own: bool) -> Result<TlsConfig> {
    let mut roots = system().to_vec();
    for path in &tls.authorities {
        let pem = read(path)?;
        let before = roots.len();
        for item in parse_pem(&pem) {
            if let Ok(PemItem::Certificate(certificate)) = item {
                roots.push(certificate);
            }
        }
        if roots.len() == before {
            bail!("{} holds no certificate in PEM", path.display());
        }
    }
    let identity = if own {
        identity(&tls.identities)?
    } else {
        None
    };
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::from(roots))
        .client_cert(identity)
        .disable_verification(tls.insecure || tls.any_certificate)
        .unversioned_rustls_crypto_provider(std::sync::Arc::new(
            rustls::crypto::ring::default_provider(),
        ))
        .build())
}

/// Returns whether this machine has certificates of authorities at all.
pub(crate) fn has_system_roots() -> bool {
    !system().is_empty()
}

/// Reads the system's authorities once.
fn system() -> &'static [Certificate<'static>] {
    static ROOTS: OnceLock<Vec<Certificate<'static>>> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!("read the system's certificates: {error}");
        }
        let roots = found.certs.iter();
        roots
            .map(|der| Certificate::from_der(der).to_owned())
            .collect()
    })
}

/// Reads the first identity that can be read; that none can is an error if there are any.
fn identity(identities: &[Identity]) -> Result<Option<ClientCert>> {
    let mut first_error = None;
    for identity in identities {
        match load(identity) {
            Ok(certificate) => return Ok(Some(certificate)),
            Err(error) => {
                tracing::debug!("{error:#}");
                first_error.get_or_insert(error);
            }
        }
    }
    first_error.map_or(Ok(None), Err)
}

fn load(identity: &Identity) -> Result<ClientCert> {
    let mut chain = Vec::new();
    for item in parse_pem(&read(&identity.certificate)?) {
        if let Ok(PemItem::Certificate(certificate)) = item {
            chain.push(certificate);
        }
    }
    if chain.is_empty() {
        bail!(
            "{} holds no certificate in PEM",
            identity.certificate.display()
        );
    }
    let context = || format!("read the key {}", identity.key.display());
    let pem = read(&identity.key)?;
    let key = PrivateKey::from_pem(&pem)
        .map_err(|error| anyhow::anyhow!("{error}"))
        .with_context(context)?;
    // ureq takes it for granted that rustls can use them.
    let same = PrivateKeyDer::from_pem_slice(&pem).with_context(context)?;
    usable(&chain, same).map_err(|error| explain(identity, &error))?;
    Ok(ClientCert::new_with_certs(&chain, key))
}

/// Tries what rustls does with a certificate and its key.
fn usable(chain: &[Certificate<'_>], key: PrivateKeyDer<'static>) -> Result<(), rustls::Error> {
    let chain = chain.iter().map(|link| link.der().to_vec().into());
    let provider = rustls::crypto::ring::default_provider();
    rustls::sign::CertifiedKey::from_der(chain.collect(), key, &provider).map(drop)
}

fn explain(identity: &Identity, error: &rustls::Error) -> anyhow::Error {
    let (certificate, key) = (identity.certificate.display(), identity.key.display());
    if matches!(error, rustls::Error::InconsistentKeys(_)) {
        return error::invalid(format!("{key} is not the key of {certificate}"));
    }
    if error.to_string().contains("UnsupportedCertVersion") {
        let why = "openssl x509 -req makes one of version 3 if it is given -extfile";
        return error::invalid(format!("{certificate} is of version 1 of X.509: {why}"));
    }
    error::invalid(format!("{certificate} with {key} is of no use: {error}"))
}

fn read(path: &std::path::Path) -> Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let context = || format!("read the certificate {}", path.display());
    std::fs::File::open(path)
        .with_context(context)?
        .take(PEM_MAX_BYTES)
        .read_to_end(&mut bytes)
        .with_context(context)?;
    Ok(bytes)
}
