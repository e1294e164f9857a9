//! Tokens, and the Envoy filter that verifies them.

/// HS256 key of the tokens below.
const KEY: &str = "b25seS1mb3ItdGhlLXRlc3RzLW9mLWdyYXlsYW5lISE";
/// Its claims: `tenant` is `acme`, `org.tier` is `gold`.
pub const ACME: &str = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsifQ.eyJpc3MiOiJ0ZXN0cyIsInRlbmFudCI6ImFjbWUiLCJvcmciOnsidGllciI6ImdvbGQifX0.MRXZQ8MnGphoNjieEtEBdhCm0eqQdwD7l7gzqn0vmE0";
/// Its claims: `tenant` is `other`, `org.tier` is `silver`.
pub const OTHER: &str = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsifQ.eyJpc3MiOiJ0ZXN0cyIsInRlbmFudCI6Im90aGVyIiwib3JnIjp7InRpZXIiOiJzaWx2ZXIifX0.J0D0BgJ8l_44ervN4UcgBppv95_Zan_8RIVkZz6sUVQ";

const FILTERS: &str = "          http_filters:\n";

/// The edit of a bootstrap that verifies tokens in its first listener; a request may come without.
#[must_use]
pub fn verifying(text: &str) -> String {
    text.replacen(FILTERS, &format!("{FILTERS}{}", jwt_authn()), 1)
}

fn jwt_authn() -> String {
    let keys = format!(r#"{{"keys":[{{"kty":"oct","kid":"k","alg":"HS256","k":"{KEY}"}}]}}"#);
    format!(
        r#"          - name: envoy.filters.http.jwt_authn
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
              providers:
                tests: {{issuer: tests, payload_in_metadata: payload, local_jwks: {{inline_string: '{keys}'}}}}
              rules:
              - match: {{prefix: /}}
                requires: {{requires_any: {{requirements: [{{provider_name: tests}}, {{allow_missing: {{}}}}]}}}}
"#
    )
}
