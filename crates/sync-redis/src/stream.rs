//! A connection's bytes, plain or encrypted, counted on their way out.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sync_core::{Error, ErrorKind, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::{Address, RedisConfig};

/// The way to the servers of a configuration: plain, or TLS.
#[derive(Clone)]
pub(crate) enum Transport {
    Plain,
    Tls(TlsConnector),
}

/// The bytes of one connection.
pub(crate) struct Stream {
    inner: Inner,
    written: Arc<AtomicU64>,
}

enum Inner {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    pub(crate) fn of(config: &RedisConfig) -> Result<Self> {
        if !config.tls {
            return Ok(Self::Plain);
        }
        let mut roots = RootCertStore::empty();
        match &config.root_certificates {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    let added = certificate.map_err(no_certificate)?;
                    roots.add(added).map_err(no_certificate)?;
                }
                if roots.is_empty() {
                    return Err(refused().with_message("the root certificates hold none"));
                }
            }
        }
        // The provider is named here, so that no process-wide default is needed or made.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|source| refused().with_source(source))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self::Tls(TlsConnector::from(Arc::new(config))))
    }

    /// Connects to `address`, whose host was `found` at these addresses. `written` counts the bytes that
    /// the operating system took.
    pub(crate) async fn connect(
        &self,
        address: &Address,
        found: &[SocketAddr],
        written: Arc<AtomicU64>,
    ) -> io::Result<Stream> {
        let tcp = TcpStream::connect(found).await?;
        tcp.set_nodelay(true)?;
        let inner = match self {
            Self::Plain => Inner::Plain(tcp),
            Self::Tls(connector) => {
                let name = ServerName::try_from(address.host.clone())
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
                Inner::Tls(Box::new(connector.connect(name, tcp).await?))
            }
        };
        Ok(Stream { inner, written })
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Inner::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_write(context, buffer),
            Inner::Tls(stream) => Pin::new(stream).poll_write(context, buffer),
        };
        if let Poll::Ready(Ok(bytes)) = written {
            self.written.fetch_add(bytes as u64, Ordering::SeqCst);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_flush(context),
            Inner::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Inner::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

fn no_certificate(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    refused()
        .with_message("the root certificates are not PEM certificates")
        .with_source(source)
}

fn refused() -> Error {
    Error::new(ErrorKind::Config)
}
