//! Where proxies get the filter module from.

use std::str::FromStr;

use serde_json::{Value, json};

/// How long a proxy tries to fetch the module. Less than the 15 s that a gateway waits for its first
/// config, so that the outcome is the same and known earlier.
pub const FETCH_TIMEOUT: &str = "10s";

/// The filter module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Module {
    /// A file that every proxy finds in its own file system.
    File {
        /// Absolute path in the proxy's container.
        path: String,
    },
    /// An image in a registry, fetched by Istio's agent.
    Oci {
        /// Registry, repository and perhaps tag, without scheme and digest.
        reference: String,
        /// Digest of the manifest, 64 hexadecimal digits.
        sha256: String,
        /// Name of a Secret of type `kubernetes.io/dockerconfigjson` in the namespace of the proxies.
        pull_secret: Option<String>,
    },
    /// A file on a web server, fetched by Istio's agent.
    Https {
        /// Its address.
        url: String,
        /// Digest of the file, 64 hexadecimal digits.
        sha256: String,
    },
}

/// Why a module cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModuleError {
    /// It has no digest.
    #[error(
        "`{module}` names no digest; append `@sha256:` and the 64 digits, so that no other code ever runs in its place"
    )]
    NoDigest {
        /// What was given.
        module: String,
    },
    /// Its digest is no digest.
    #[error("`{digest}` is no SHA-256 digest; give 64 hexadecimal digits in lower case")]
    BadDigest {
        /// What was given.
        digest: String,
    },
    /// It is neither a path nor an address.
    #[error("`{module}` is no module; give `oci://…@sha256:…`, `https://…@sha256:…` or an absolute path")]
    Unknown {
        /// What was given.
        module: String,
    },
    /// A pull secret that cannot be handed on.
    #[error(
        "an EnvoyFilter can only carry a pull secret in plain text; use the WasmPlugin emitter, or a registry that \
         serves the module without one"
    )]
    PullSecret,
}

// === impl Module ===

impl Module {
    /// The same module with a pull secret, which only an image can have.
    pub fn with_pull_secret(self, secret: Option<String>) -> Self {
        match self {
            Self::Oci { reference, sha256, .. } => Self::Oci { reference, sha256, pull_secret: secret },
            other => other,
        }
    }

    /// The address with its digest, as it is typed and as people are told it.
    pub fn address(&self) -> String {
        match self {
            Self::File { path } => format!("file://{path}"),
            Self::Oci { reference, sha256, .. } => format!("oci://{reference}@sha256:{sha256}"),
            Self::Https { url, sha256 } => format!("{url}@sha256:{sha256}"),
        }
    }

    /// Whether an EnvoyFilter can name it.
    ///
    /// # Errors
    /// A pull secret would have to stand in the EnvoyFilter itself.
    pub fn check_for_envoy_filter(&self) -> Result<(), ModuleError> {
        match self {
            Self::Oci { pull_secret: Some(_), .. } => Err(ModuleError::PullSecret),
            _ => Ok(()),
        }
    }

    /// The member `code` of Envoy's VM config.
    pub(super) fn code(&self) -> Value {
        let (uri, sha256) = match self {
            Self::File { path } => return json!({"local": {"filename": path}}),
            Self::Oci { sha256, .. } => (self.address(), sha256),
            Self::Https { url, sha256 } => (url.clone(), sha256),
        };
        // The agent fetches the module and puts a file in its place: no cluster is ever asked.
        json!({"remote": {"http_uri": {"uri": uri, "cluster": "unused", "timeout": FETCH_TIMEOUT}, "sha256": sha256}})
    }
}

impl FromStr for Module {
    type Err = ModuleError;

    fn from_str(text: &str) -> Result<Self, ModuleError> {
        let path = text.strip_prefix("file://").unwrap_or(text);
        if path.starts_with('/') {
            return Ok(Self::File { path: path.to_owned() });
        }
        let is_image = text.starts_with("oci://");
        if !is_image && !text.starts_with("https://") {
            return Err(ModuleError::Unknown { module: text.to_owned() });
        }
        let Some((address, digest)) = text.rsplit_once("@sha256:") else {
            return Err(ModuleError::NoDigest { module: text.to_owned() });
        };
        let is_digest = digest.len() == 64 && digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_digest {
            return Err(ModuleError::BadDigest { digest: digest.to_owned() });
        }
        let sha256 = digest.to_owned();
        Ok(match address.strip_prefix("oci://") {
            Some(reference) => Self::Oci { reference: reference.to_owned(), sha256, pull_secret: None },
            None => Self::Https { url: address.to_owned(), sha256 },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_typed_as_it_is_shown() {
        let digest = "0123456789abcdef".repeat(4);
        for text in [
            "file:///etc/graylane/filter.wasm".to_owned(),
            format!("oci://registry.example.com:5000/graylane/filter:v1@sha256:{digest}"),
            format!("https://example.com/filter.wasm@sha256:{digest}"),
        ] {
            assert_eq!(text.parse::<Module>().unwrap().address(), text);
        }
        assert_eq!("/a".parse(), Ok(Module::File { path: "/a".into() }));
    }

    #[test]
    fn a_module_that_could_change_under_its_name_is_refused() {
        for (text, says) in [
            ("oci://example.com/filter:latest", "names no digest"),
            ("https://example.com/filter.wasm", "names no digest"),
            ("oci://example.com/filter@sha256:12", "is no SHA-256 digest"),
            ("http://example.com/filter.wasm", "is no module"),
            ("filter.wasm", "is no module"),
        ] {
            let error = text.parse::<Module>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn an_envoy_filter_carries_no_pull_secret() {
        let module: Module = format!("oci://a/b@sha256:{}", "0".repeat(64)).parse().unwrap();
        assert_eq!(module.check_for_envoy_filter(), Ok(()));
        let secret = module.with_pull_secret(Some("registry".into()));
        assert_eq!(secret.check_for_envoy_filter(), Err(ModuleError::PullSecret));
    }
}
