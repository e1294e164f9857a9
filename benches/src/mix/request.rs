//! Requests for the mix.

use std::fmt::Write as _;

use super::{FIELDS, Field};

/// A request: values of [`FIELDS`], where it has them.
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) values: [Option<String>; 10],
}

// === impl Request ===

impl Request {
    pub(super) fn new() -> Self {
        let values = ["u-81726354", "acme", "eu-central-1", "phone", "1.9.4", "4711", "free", "spring", "prod", "no"];
        Self { values: values.map(|value| Some(value.to_owned())) }
    }

    /// With another value of a header field, for requests that differ in nothing else.
    #[must_use]
    pub fn with(mut self, field: Field, value: &str) -> Self {
        if let Some(at) = FIELDS.iter().position(|known| *known == field) {
            self.values[at] = Some(value.to_owned());
        }
        self
    }

    /// All headers as Envoy gives them to a filter: 18 for a full request.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers =
            vec![(":authority", "orders".to_owned()), (":method", "GET".into()), (":scheme", "http".into())];
        headers.push((":path", self.path()));
        headers.extend(self.plain_headers());
        headers.push(("x-forwarded-proto", "http".into()));
        headers.push(("x-request-id", "7b5cfa17-3c66-4a3b-8d13-3f0a5a1b9f22".into()));
        headers
    }

    /// The request as it goes over an HTTP/1.1 connection; `extra` are whole header lines.
    #[must_use]
    pub fn http1(&self, extra: &str) -> Vec<u8> {
        let mut text = format!("GET {} HTTP/1.1\r\nhost: orders\r\n", self.path());
        for (name, value) in self.plain_headers() {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        text.push_str(extra);
        text.push_str("\r\n");
        text.into_bytes()
    }

    fn path(&self) -> String {
        let mut path = "/shop/checkout?page=2".to_owned();
        for (field, value) in self.fields() {
            if let Field::Query(key) = field {
                let _ = write!(path, "&{key}={value}");
            }
        }
        path + "&sort=asc"
    }

    fn plain_headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0".to_owned()),
            ("accept", "application/json".into()),
            ("accept-language", "en-GB,en;q=0.8".into()),
        ];
        let mut cookie = "session=4f1c9ab27d5e4f3c8a6b; theme=dark".to_owned();
        for (field, value) in self.fields() {
            match field {
                Field::Header(name) => headers.push((name, value.to_owned())),
                Field::Cookie(name) => {
                    let _ = write!(cookie, "; {name}={value}");
                }
                Field::Query(_) => {}
            }
        }
        headers.push(("cookie", cookie));
        headers
    }

    fn fields(&self) -> impl Iterator<Item = (Field, &str)> {
        FIELDS.into_iter().zip(&self.values).filter_map(|(field, value)| Some((field, value.as_deref()?)))
    }
}
