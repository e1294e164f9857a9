//! Notices in the forms that receivers read.

use graylane_analysis::Fault;
use serde_json::{Value, json};

use crate::engine::Millis;
use crate::view::times;

/// The form of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A message, as Slack and those that speak like it take it.
    Slack,
    /// A CloudEvent 1.0 in structured JSON.
    Cloudevents,
}

/// Something that became of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The same for each try to send it.
    pub id: String,
    /// `namespace/name`.
    pub release: String,
    /// What, in CamelCase.
    pub reason: String,
    /// In words.
    pub message: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: Millis,
    /// The run of the release.
    pub attempt: u32,
    /// The weights, in words.
    pub weight: String,
    /// What failed where, of a release that its analysis has failed.
    pub fault: Option<Fault>,
}

// === impl Notice ===

impl Notice {
    /// Content type and body.
    pub fn body(&self, kind: Kind) -> (&'static str, Value) {
        match kind {
            Kind::Slack => ("application/json", self.slack()),
            Kind::Cloudevents => ("application/cloudevents+json", self.cloud_event()),
        }
    }

    fn slack(&self) -> Value {
        let sign = match self.reason.as_str() {
            "AnalysisFailed" | "RolledBack" => ":rotating_light:",
            "Paused" => ":warning:",
            _ => ":white_check_mark:",
        };
        let weight = if self.weight.is_empty() { "everybody on stable" } else { &self.weight };
        let (release, message) = (escaped(&self.release), escaped(&self.message));
        json!({"text": format!("{sign} *{release}* {}: {message} ({weight})", self.reason)})
    }

    fn cloud_event(&self) -> Value {
        let mut event = json!({
            "specversion": "1.0",
            "id": self.id,
            "source": format!("/graylane/{}", self.release),
            "type": format!("io.graylane.release.{}", self.reason),
            "subject": self.release,
            "time": times::at(self.at_ms),
            "datacontenttype": "application/json",
            "data": {
                "release": self.release,
                "reason": self.reason,
                "message": self.message,
                "attempt": self.attempt,
                "weight": self.weight,
            },
        });
        if let Some(fault) = &self.fault {
            event["data"]["fault"] = json!(fault);
        }
        event
    }
}

/// The three characters that Slack reads as its own.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_call_everybody() {
        let notice = Notice {
            id: "1".into(),
            release: "shop/summer".into(),
            reason: "RolledBack".into(),
            message: "<!channel> & <http://evil>".into(),
            at_ms: 1_800_000_000_000,
            attempt: 1,
            weight: String::new(),
            fault: None,
        };
        let (_, body) = notice.body(Kind::Slack);
        let text = body["text"].as_str().unwrap();
        assert!(text.contains("&lt;!channel&gt; &amp; &lt;http://evil&gt;"), "{text}");
        let (kind, event) = notice.body(Kind::Cloudevents);
        assert_eq!(kind, "application/cloudevents+json");
        assert_eq!(event["time"], "2027-01-15T08:00:00Z");
    }
}
