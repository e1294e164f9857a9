//! Reads release files: YAML with any number of documents, strict in every field.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::finding::{Finding, Findings};
use super::lines::line_of;
use super::{ApiVersion, GrayRelease, Kind, Metadata, Spec};

/// One release as it stands in a file, with what is needed to say where a problem is.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file, `-` for standard input, or `grayrelease/NAMESPACE/NAME` for an object of an API server.
    pub file: String,
    /// The release as written.
    pub written: GrayRelease,
    /// The text of the document, with the lines before it left blank so that line numbers hold; none of an
    /// object.
    text: Option<String>,
}

/// Reads the releases of a file; `-` is standard input.
///
/// # Errors
/// When the file cannot be read, holds no release, or a document has the wrong shape. Each document
/// reports the first place that does not fit.
pub fn read_file(file: &Path) -> Result<Vec<Source>, Findings> {
    let name = file.display().to_string();
    let text = if name == "-" { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    match text {
        Ok(text) => read_text(&name, &text),
        Err(error) => Err(Findings::of(name, format!("cannot be read: {error}"), "name a readable YAML file")),
    }
}

/// Reads the releases of a text; `file` is only named in problems.
///
/// # Errors
/// As for [`read_file`].
pub fn read_text(file: &str, text: &str) -> Result<Vec<Source>, Findings> {
    let mut sources = Vec::new();
    let mut findings = Vec::new();
    for document in documents(text) {
        match one(file, &document) {
            Ok(written) => sources.push(Source { file: file.into(), written, text: Some(document) }),
            Err(finding) => findings.push(finding),
        }
    }
    if !findings.is_empty() {
        return Err(Findings(findings));
    }
    if sources.is_empty() {
        return Err(Findings::of(file, "holds no document", "write a document of kind GrayRelease"));
    }
    Ok(sources)
}

/// Reads a release as an API server keeps it: of the metadata only name and namespace matter, and the
/// status is not looked at. Problems name the object as `grayrelease/NAMESPACE/NAME`.
///
/// # Errors
/// The first place that does not fit. The API server's schema leaves little of that, but a CRD of
/// another version may.
pub fn from_object(object: &Value) -> Result<Source, Findings> {
    let of_metadata = |key| object.pointer(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (name, namespace) = (of_metadata("/metadata/name"), of_metadata("/metadata/namespace"));
    let file = format!("grayrelease/{namespace}/{name}");
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let spec: Spec = serde_path_to_error::deserialize(spec).map_err(|error| {
        let below = error.path().to_string();
        let separator = if below.starts_with(['.', '[']) { "" } else { "." };
        let path = format!("spec{separator}{below}").trim_end_matches('.').to_owned();
        let message = error.into_inner().to_string();
        let mend = mend(&message);
        Findings(vec![Finding { file: file.clone(), line: None, path, message, mend }])
    })?;
    let metadata = Metadata { name, namespace, labels: BTreeMap::new(), annotations: BTreeMap::new() };
    let written = GrayRelease { api_version: ApiVersion::V1Alpha1, kind: Kind::GrayRelease, metadata, spec };
    Ok(Source { file, written, text: None })
}

/// Reads a single document of any type; strictness is the type's.
///
/// # Errors
/// The first place that does not fit.
pub fn one<T: DeserializeOwned>(file: &str, document: &str) -> Result<T, Finding> {
    let options = serde_saphyr::options! { with_snippet: false };
    let mut path = String::new();
    let read = serde_saphyr::with_deserializer_from_str_with_options(document, options, |deserializer| {
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            path = error.path().to_string();
            error.into_inner()
        })
    });
    read.map_err(|error| {
        let message = error.without_snippet().to_string();
        // The position stands in the line already.
        let message = message.split(" at line ").next().unwrap_or(&message).trim_end_matches('.').to_owned();
        // Where the parser gave up in the middle of something, the path ends in question marks.
        let path = path.trim_end_matches('?').trim_end_matches('.').to_owned();
        let mend = mend(&message);
        Finding { file: file.into(), line: error.location().map(|at| at.line()), path, message, mend }
    })
}

/// What to write instead, when the message is about a name: "unknown field `a`, expected one of b, c".
fn mend(message: &str) -> String {
    let named = message.strip_prefix("unknown ").and_then(|rest| rest.split_once(", expected "));
    let Some((unknown, known)) = named else { return "`graylane schema --release` shows what fits there".into() };
    let unknown = unknown.split('`').nth(1).unwrap_or_default();
    let known = known.trim_start_matches("one of ").split([',', ' ']).map(|name| name.trim_matches('`'));
    let likeness = |name: &str| strsim::jaro_winkler(unknown, name);
    let nearest = known.filter(|name| !name.is_empty()).max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest.filter(|name| likeness(name) > 0.7) {
        Some(name) => format!("did you mean `{name}`?"),
        None => "leave it out, or take one of those".into(),
    }
}

/// The documents of a YAML stream, each with the lines before it left blank.
///
/// Splitting at lines is safe: YAML forbids `---` and `...` at the start of a line anywhere but
/// between documents (YAML 1.2.2, section 9.1.2).
fn documents(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for (number, line) in text.lines().enumerate() {
        let marker = line.get(..3).filter(|head| matches!(*head, "---" | "..."));
        let rest = line.get(3..).filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
        if let (Some(_), Some(rest)) = (marker, rest) {
            let mut next = "\n".repeat(number);
            next.push_str("   ");
            next.push_str(rest);
            documents.push(next);
        } else if let Some(document) = documents.last_mut() {
            document.push_str(line);
        }
        if let Some(document) = documents.last_mut() {
            document.push('\n');
        }
    }
    let holds_something = |document: &String| {
        document.lines().map(str::trim).any(|line| !line.is_empty() && !line.starts_with(['#', '%']))
    };
    documents.into_iter().filter(holds_something).collect()
}

// === impl Source ===

impl Source {
    /// What a person wrote, without types: which fields are there. What they hold is to be taken from
    /// [`Source::written`], because a bare `0777` or `on` means different things to different readers.
    /// Nothing for an object of an API server.
    pub fn untyped(&self) -> Option<Value> {
        serde_saphyr::from_str(self.text.as_deref()?).ok()
    }

    /// A problem of this release at `path`, with its line.
    pub fn finding(&self, path: &str, message: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding {
            file: self.file.clone(),
            line: self.text.as_deref().and_then(|text| line_of(text, path)),
            path: path.into(),
            message: message.into(),
            mend: mend.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "apiVersion: graylane.io/v1alpha1\nkind: GrayRelease\nmetadata: {name: summer}\n\
        spec:\n  lanes: [{name: canary}]\n  members: [{service: orders}]\n";

    fn problem(text: &str) -> String {
        read_text("r.yaml", text).unwrap_err().to_string()
    }

    #[test]
    fn several_documents_are_read_and_empty_ones_skipped() {
        let text = format!("# a comment\n---\n{SMALL}---\n---\n{SMALL}...\n");
        assert_eq!(read_text("r.yaml", &text).unwrap().len(), 2);
    }

    #[test]
    fn an_unknown_field_is_named_with_file_line_and_path() {
        let text = format!("---\n{SMALL}  weight: 5\n");
        let found = problem(&text);
        assert!(found.starts_with("r.yaml:8: spec.weight: unknown field `weight`"), "{found}");
        assert!(found.ends_with("; did you mean `weights`?"), "{found}");
    }

    #[test]
    fn each_broken_document_is_reported() {
        let found = problem(&format!("{SMALL}  lane: x\n---\n{}", SMALL.replace("GrayRelease", "Deployment")));
        assert_eq!(found.lines().count(), 2, "{found}");
        assert!(found.contains("Deployment"), "{found}");
    }

    #[test]
    fn text_that_yaml_may_take_for_something_else_stays_text() {
        let text = format!(
            "{SMALL}  rules:\n  - name: r\n    lane: canary\n    when: {{match: {{field: {{header: x}}, is: {{in: [on, 'no', y]}}}}}}\n"
        );
        let read = read_text("r.yaml", &text).unwrap();
        let rule = serde_json::to_value(&read[0].written.spec.rules[0].when).unwrap();
        assert_eq!(rule["match"]["is"]["in"], serde_json::json!(["on", "no", "y"]));
    }

    #[test]
    fn an_object_of_an_api_server_is_read_with_all_that_comes_with_it() {
        let object = serde_json::json!({
            "apiVersion": "graylane.io/v1alpha1",
            "kind": "GrayRelease",
            "metadata": {"name": "summer", "namespace": "shop", "uid": "1", "generation": 3, "managedFields": [{}]},
            "spec": {"lanes": [{"name": "canary"}], "members": [{"service": "orders"}]},
            "status": {"phase": "nonsense"},
        });
        let source = from_object(&object).unwrap();
        assert_eq!(source.file, "grayrelease/shop/summer");
        assert_eq!(source.written.spec.members[0].service, "orders");
        assert_eq!(source.finding("spec.lanes", "m", "n").to_string(), "grayrelease/shop/summer: spec.lanes: m; n");
    }

    #[test]
    fn garbage_in_an_object_is_a_problem_with_its_path() {
        for (spec, expected) in [
            (serde_json::json!(null), "grayrelease/shop/a: spec: invalid type: null, expected struct Spec; "),
            (
                serde_json::json!({"lanes": [{"name": 5}], "members": []}),
                "grayrelease/shop/a: spec.lanes[0].name: invalid type: integer `5`, expected a string; ",
            ),
            (
                serde_json::json!({"lanes": [], "members": [], "stepz": []}),
                "grayrelease/shop/a: spec.stepz: unknown field `stepz`, expected one of ",
            ),
            (
                serde_json::json!({"lanes": [], "members": [], "steps": [{"weight": {"canary": "5%"}}]}),
                "grayrelease/shop/a: spec.steps[0].weight: weights by lane stand in `weights`; ",
            ),
        ] {
            let object = serde_json::json!({"metadata": {"name": "a", "namespace": "shop"}, "spec": spec});
            let found = from_object(&object).unwrap_err().to_string();
            assert!(found.starts_with(expected), "{found}");
        }
    }

    #[test]
    fn a_file_without_a_release_says_so() {
        assert!(problem("# nothing\n").contains("holds no document"));
    }
}
