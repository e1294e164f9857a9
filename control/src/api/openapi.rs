//! The document that says what can be asked, made from the types that read and answer.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::answer::Answer;
use super::question::{Problem, Question};

/// The OpenAPI document of the server.
pub fn document() -> Value {
    let id = json!({"description": "The id of the question, as in the log", "schema": {"type": "string"}});
    let body =
        |schema: &str| json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{schema}")}}});
    let said = |text: &str, schema: &str| json!({"description": text, "headers": {"x-request-id": id}, "content": body(schema)});
    let error = |text: &str| said(text, "Refused");
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "graylane analysis",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What the proxies of a release have counted, and the verdict on it.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": {
            "/metrics/analysis": {"post": {
                "operationId": "analysis",
                "summary": "One number about the requests of a lane, and the verdict on the lane",
                "security": [{"bearer": []}],
                "parameters": [{
                    "name": "x-request-id", "in": "header", "required": false,
                    "description": "Taken over when it is at most 128 visible ASCII characters; else a new one is made",
                    "schema": {"type": "string"},
                }],
                "requestBody": {"required": true, "content": {"application/json": {
                    "schema": {"$ref": "#/components/schemas/Question"},
                    "examples": examples(),
                }}},
                "responses": {
                    "200": said("The number, or null with the reason when there is no data", "Answer"),
                    "400": error("The body is not what the schema says"),
                    "401": error("No token, or one that is not known"),
                    "403": error("The token is known, and its owner may not ask"),
                    "404": error("The release, its lane or its service is not known"),
                    "413": error("The body is larger than 16 KiB"),
                    "415": error("The body is not said to be JSON"),
                    "422": error("A value makes no sense, such as a window that ends before it begins"),
                    "503": error("This instance does not lead, or nobody can say now whose the token is"),
                },
            }},
        },
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Question": schema::<Question>(),
                "Answer": schema::<Answer>(),
                "Refused": {
                    "type": "object",
                    "required": ["error", "requestId"],
                    "properties": {"error": schema::<Problem>(), "requestId": {"type": "string"}},
                },
            },
        },
    })
}

fn examples() -> Value {
    let example = |metric: &str, more: Value| {
        let mut labels = json!({"release": "shop/summer", "lane": "canary"});
        if let (Some(labels), Value::Object(more)) = (labels.as_object_mut(), more) {
            labels.extend(more);
        }
        json!({"value": {"metricName": metric, "startTimestamp": "-5m", "endTimestamp": "now", "labels": labels}})
    };
    json!({
        "succeeded": example("success_rate", json!({"service": "orders.shop"})),
        "slow": example("slow_rate", json!({"overMs": "250"})),
        "traffic": example("request_rate", json!({"cohort": "all"})),
        "business": example("objective", json!({"objective": "paid orders"})),
    })
}

fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    settings.into_generator().into_root_schema_for::<T>().to_value()
}
