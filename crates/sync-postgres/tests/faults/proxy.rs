//! A server that offers TLS: a proxy with a certificate before the shared server.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sync_postgres::tokio_postgres::Config;
use sync_postgres::tokio_postgres::config::Host;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;

/// The request of a client for TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Ends with the value.
pub(crate) struct Proxy {
    address: SocketAddr,
    _runtime: Runtime,
}

impl Proxy {
    /// Before the shared server; with the certificate for `localhost`.
    pub(crate) fn start() -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (server, _) = crate::server::server();
        let [Host::Tcp(host), ..] = server.get_hosts() else {
            panic!("the proxy needs a server that listens on TCP");
        };
        let behind = format!("{host}:{}", server.get_ports().first().unwrap_or(&5432));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = acceptor();
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, behind) = (acceptor.clone(), behind.clone());
                tokio::spawn(async move { serve(client, acceptor, &behind).await });
            }
        });
        Self {
            address,
            _runtime: runtime,
        }
    }

    /// The driver's configuration for the shared server through the proxy, by the name `host`.
    pub(crate) fn server(&self, host: &str) -> Config {
        let (behind, _) = crate::server::server();
        let mut server = Config::new();
        server
            .host(host)
            .hostaddr(self.address.ip())
            .port(self.address.port())
            .user(behind.get_user().unwrap())
            .password(behind.get_password().unwrap())
            .dbname(behind.get_dbname().unwrap());
        server
    }
}

async fn serve(mut client: TcpStream, acceptor: TlsAcceptor, behind: &str) -> Option<()> {
    let mut request = [0; 8];
    client.read_exact(&mut request).await.ok()?;
    if request != SSL_REQUEST {
        // This server requires TLS.
        return None;
    }
    client.write_all(b"S").await.ok()?;
    let mut client = acceptor.accept(client).await.ok()?;
    let mut server = TcpStream::connect(behind).await.ok()?;
    copy_bidirectional(&mut client, &mut server).await.ok()?;
    Some(())
}

fn acceptor() -> TlsAcceptor {
    let certificates = CertificateDer::pem_file_iter(fixture("server.pem")).unwrap();
    let certificates = certificates.map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(fixture("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls");
    folder.join(name)
}
