"""What schemathesis does with the analysis API beside what it does by itself (scripts/test-api.sh).

A name that is drawn at random is nobody's, so that all but the examples of the document would be answered with 404:
half of the bodies that name a release in the right form name the one that is there. What breaks the rules elsewhere
in such a body still does. Answers with a number are kept, by metric, for the script to count.
"""

import json
import os

import schemathesis


@schemathesis.hook
def map_body(context, body):
    labels = body.get("labels") if isinstance(body, dict) else None
    named = isinstance(labels, dict) and all(isinstance(labels.get(name), str) for name in ("release", "lane"))
    if not named or len(labels["lane"]) % 2:
        return body
    known = {"release": "shop/summer", "lane": "stable" if len(labels["release"]) % 2 else "canary"}
    if isinstance(labels.get("service"), str):
        known["service"] = "orders.shop"
    return {**body, "labels": {**labels, **known}}


@schemathesis.hook
def after_call(context, case, response):
    if response.status_code != 200 or not isinstance(case.body, dict):
        return
    value = response.json().get("value")
    if isinstance(value, (int, float)):
        with open(os.environ["NUMBERS"], "a", encoding="utf-8") as numbers:
            numbers.write(json.dumps([case.body.get("metricName"), value]) + "\n")
