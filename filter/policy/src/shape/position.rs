//! The JSON path of a line and column.
//!
//! serde_json tells where it stopped, not what it was reading there. `serde_path_to_error` would tell
//! both, but it more than doubles the code of every type it reads: 110 kB of a module that may have
//! 300. Walking the text up to the place costs one page of code, and that crate checks it in tests.

/// The path of the value that holds this place (line and column from 1, as serde_json counts bytes);
/// `.` for the document itself.
pub(super) fn path_at(json: &[u8], line: usize, column: usize) -> String {
    let mut walk = Walk::default();
    let mut rest = json.get(..offset_of(json, line, column)).unwrap_or(json);
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            b'"' => walk.text(after),
            _ => {
                walk.mark(byte);
                after
            }
        };
    }
    walk.path()
}

/// The open containers, innermost last.
#[derive(Default)]
struct Walk {
    open: Vec<Place>,
}

/// Where in a container the walk is.
enum Place {
    /// In an object: the key last read, and whether its value has begun.
    Object { key: String, in_value: bool },
    /// In an array: the index.
    Array(usize),
}

/// Bytes up to and including the place; serde_json's column counts the bytes it has read of the line.
fn offset_of(json: &[u8], line: usize, column: usize) -> usize {
    let before: usize = json.split_inclusive(|&byte| byte == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    before.saturating_add(column)
}

// === impl Walk ===

impl Walk {
    /// A structural byte outside texts.
    fn mark(&mut self, byte: u8) {
        match (byte, self.open.last_mut()) {
            (b'{', _) => self.open.push(Place::Object { key: String::new(), in_value: false }),
            (b'[', _) => self.open.push(Place::Array(0)),
            (b'}' | b']', _) => {
                // The place right behind a container is still its own: that is where serde stops
                // when something is missing in it.
                self.open.pop();
            }
            (b':', Some(Place::Object { in_value, .. })) => *in_value = true,
            (b',', Some(Place::Object { key, in_value })) => {
                key.clear();
                *in_value = false;
            }
            (b',', Some(Place::Array(index))) => *index = index.saturating_add(1),
            _ => {}
        }
    }

    /// A text, after its opening quote; returns what follows it.
    fn text<'j>(&mut self, json: &'j [u8]) -> &'j [u8] {
        let mut escaped = false;
        let end = json.iter().position(|&byte| {
            let closes = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            closes
        });
        let end = end.unwrap_or(json.len());
        if let Some(Place::Object { key, in_value: false }) = self.open.last_mut() {
            *key = String::from_utf8_lossy(json.get(..end).unwrap_or(json)).into_owned();
        }
        json.get(end.saturating_add(1)..).unwrap_or(&[])
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for place in &self.open {
            match place {
                Place::Object { key, .. } if key.is_empty() => {}
                Place::Object { key, .. } => {
                    path.push_str(if path.is_empty() { "" } else { "." });
                    path.push_str(key);
                }
                Place::Array(index) => path.push_str(&format!("[{index}]")),
            }
        }
        if path.is_empty() { ".".into() } else { path }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::RawConfig;

    fn place(json: &str) -> String {
        let error = serde_json::from_str::<RawConfig>(json).expect_err("bad on purpose");
        path_at(json.as_bytes(), error.line(), error.column())
    }

    #[test]
    fn the_path_names_the_value_that_does_not_fit() {
        let head = r#"{"version":1,"generation":1,"role":"gateway","groups":[{"name":"a","rollout":"n/a","#;
        assert_eq!(place(r#"{"version":"one"}"#), "version");
        assert_eq!(place(r#"{"version":1,"generation":1,"role":"gatway"}"#), "role");
        assert_eq!(place(&format!(r#"{head}"lanes":{{"names":["x",7]}}}}]}}"#)), "groups[0].lanes.names[1]");
        assert_eq!(place(&format!(r#"{head}"lanez":{{}}}}]}}"#)), "groups[0].lanez");
        assert_eq!(place("[]"), ".");
        assert_eq!(place(""), ".");
    }

    #[test]
    fn an_escaped_quote_does_not_end_a_text() {
        assert_eq!(place(r#"{"version":1,"generation":1,"role":"gateway\"","groups":1}"#), "role");
    }

    #[test]
    fn no_place_in_any_text_panics() {
        let json = br#"{"a":["\"",{"b":"\\"}],"c":1}"#;
        for column in 0..60 {
            path_at(json, 1, column);
            path_at(&json[column.min(json.len())..], 1, column);
        }
    }
}
