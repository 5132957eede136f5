use anyhow::Result;
use tokio_postgres::{Config, NoTls};

/// Without TLS, as the tests themselves connect.
pub(crate) async fn version(url: &str) -> Result<String> {
    // What the tests read from the URL beside the driver's own options.
    let url = url.strip_suffix("?pooler=transaction").unwrap_or(url);
    let (client, connection) = url.parse::<Config>()?.connect(NoTls).await?;
    let connection = tokio::spawn(connection);
    let row = client.query_typed("SHOW server_version", &[]).await?;
    let row = row.first().map(|row| row.try_get::<_, String>(0));
    let version = row.transpose()?.unwrap_or_default();
    drop(client);
    connection.await??;
    // Distributions add words of their own.
    let number = version.split(' ').next().unwrap_or_default();
    Ok(format!("PostgreSQL {number}"))
}
