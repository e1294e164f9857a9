//! Mutual TLS at a gateway: certificates by the openssl command, peers by curl.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

/// The edit of a bootstrap that gives its first listener mutual TLS; certificates of clients are
/// checked, not required.
#[must_use]
pub fn listening(text: &str) -> String {
    text.replacen("    - filters:\n", &format!("{TRANSPORT_SOCKET}      filters:\n"), 1)
}

const TRANSPORT_SOCKET: &str = r#"    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            tls_certificates: [{certificate_chain: {filename: gateway.pem}, private_key: {filename: gateway.key}}]
            validation_context: {trusted_ca: {filename: ca.pem}}
"#;

/// Makes a CA, and certificates of the gateway and of the peers `web` of the namespace `shop` and
/// `mail` of the namespace `office`.
///
/// # Errors
/// When openssl fails.
pub fn make_certificates(folder: &Path) -> Result<()> {
    let names = [("gateway", "gateway"), ("web", "shop"), ("mail", "office")];
    let mut script =
        "set -e\nopenssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=ca -days 2\n"
            .to_owned();
    for (name, namespace) in names {
        script.push_str(&format!(
            "openssl req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}\n\
             printf 'subjectAltName=URI:spiffe://cluster.local/ns/{namespace}/sa/{name}' > {name}.ext\n\
             openssl x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile {name}.ext -out {name}.pem\n"
        ));
    }
    let output = Command::new("bash").arg("-c").arg(script).current_dir(folder).output()?;
    ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// What a `GET /` answers to this peer, or to a client without a certificate.
///
/// # Errors
/// When curl fails.
pub fn answer_to(port: u16, folder: &Path, peer: Option<&str>, headers: &[&str]) -> Result<String> {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-k", &format!("https://127.0.0.1:{port}/")]).current_dir(folder);
    for header in headers {
        curl.args(["-H", header]);
    }
    if let Some(peer) = peer {
        curl.args(["--cert", &format!("{peer}.pem"), "--key", &format!("{peer}.key")]);
    }
    let output = curl.output()?;
    ensure!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
