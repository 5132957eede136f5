//! Connections that are encrypted.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use pollster::block_on;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use sync_core::{Backend, ErrorKind, Retry, SyncStore};
use sync_redis::{RedisBackend, RedisConfig};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::server::Server;
use crate::{messages, open, page};

/// A private authority, and its certificate.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// What a server of this name shows.
    fn server(&self, name: &str) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap()
    }
}

/// Takes the encryption off in front of `target`, until the test's process ends. Its port.
fn encrypted(target: SocketAddr, config: ServerConfig) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut client = acceptor.accept(client).await?;
                    let mut server = TcpStream::connect(target).await?;
                    copy_bidirectional(&mut client, &mut server).await?;
                    io::Result::Ok(())
                });
            }
        })
    });
    port
}

#[test]
fn a_server_is_verified_by_the_authorities_that_were_given() {
    let (server, authority) = (Server::start(&[]), Authority::new());
    let port = encrypted(server.address(), authority.server("localhost"));
    let url = format!("rediss://localhost:{port}");
    let config = RedisConfig::from_url(&url).unwrap();
    let trusting = config.clone().root_certificates(&*authority.pem);
    block_on(RedisBackend::migrate(&trusting)).unwrap();
    let store = open(&trusting, "space");
    let _ = block_on(store.apply(page(0..2_000))).unwrap();
    assert_eq!(block_on(store.stats()).unwrap().total, 2_000);
    // The web's authorities, another one, and another name.
    let stranger = config.clone().root_certificates(&*Authority::new().pem);
    let misnamed = encrypted(server.address(), authority.server("elsewhere"));
    let misnamed = RedisConfig::from_url(&format!("rediss://localhost:{misnamed}")).unwrap();
    let misnamed = misnamed.root_certificates(&*authority.pem);
    for (what, config) in [
        ("the web's authorities", config.clone()),
        ("another authority", stranger),
        ("another name", misnamed),
    ] {
        let error = block_on(RedisBackend::connect(config)).unwrap_err();
        assert_eq!(
            error.kind(),
            &ErrorKind::Failed,
            "{what}: {}",
            messages(&error)
        );
        assert_eq!(error.retry(), Retry::Never, "{what}: {error}");
    }
    for pem in [
        "",
        "no certificate",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
    ] {
        let config = config.clone().root_certificates(pem);
        let error = block_on(RedisBackend::connect(config)).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Config, "{pem:?}: {error}");
    }
    // Neither side takes the other for what it is not.
    for url in [
        format!("rediss://{}", server.address()),
        format!("redis://localhost:{port}"),
    ] {
        let config = RedisConfig::from_url(&url).unwrap();
        let error = block_on(RedisBackend::connect(config)).unwrap_err();
        let kinds = [ErrorKind::Failed, ErrorKind::Unavailable];
        assert!(kinds.contains(error.kind()), "{url}: {}", messages(&error));
    }
}
