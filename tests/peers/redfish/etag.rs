//! Conditions on a write as makers want them: demanded, only as a strong tag, only `*`, or not at all.
use super::mock::{Answer, Asked, Mock, SYSTEM, system};
use pitstop::model::FaultKind;
use serde_json::{Value, json};

/// A system whose locating light is set under a condition; `takes` judges the `If-Match`.
async fn lit(served: Option<&'static str>, header: Option<&'static str>, takes: fn(Option<&str>) -> u16) -> (Result<(), FaultKind>, Vec<Option<String>>) {
    let mock = Mock::start(move |a: &Asked| match (a.method.as_str(), a.path == SYSTEM) {
        ("GET", true) => {
            let mut doc = system();
            doc["LocationIndicatorActive"] = json!(false);
            if let Some(tag) = served {
                doc["@odata.etag"] = json!(tag);
            }
            Some(Answer::Full(200, header.map(|h| format!("ETag: {h}")).into_iter().collect(), "application/json", doc.to_string().into_bytes()))
        }
        ("PATCH", true) => Some(Answer::Json(takes(a.header("if-match")), Value::Null)),
        _ => None,
    })
    .await;
    let ended = mock.bmc(json!({})).set_identify_light(true).await.map_err(|f| f.kind);
    let sent = mock.asked().iter().filter(|a| a.method == "PATCH").map(|a| a.header("if-match").map(str::to_owned)).collect();
    (ended, sent)
}

fn tags(sent: &[Option<String>]) -> Vec<&str> {
    sent.iter().map(|t| t.as_deref().unwrap_or("-")).collect()
}

#[tokio::test]
async fn every_form_of_a_condition_is_found() {
    // XCC: 428 without one.
    let demanded = |tag: Option<&str>| if tag == Some("\"7\"") { 200 } else { 428 };
    let (ended, sent) = lit(Some("\"7\""), None, demanded).await;
    assert_eq!((ended, tags(&sent)), (Ok(()), vec!["\"7\""]));
    // Shown in the header alone.
    let (ended, sent) = lit(None, Some("\"7\""), demanded).await;
    assert_eq!((ended, tags(&sent)), (Ok(()), vec!["\"7\""]));
    // A weak tag is served, only a strong one is taken.
    let (ended, sent) = lit(Some("W/\"7\""), None, |tag| if tag == Some("\"7\"") { 204 } else { 412 }).await;
    assert_eq!((ended, tags(&sent)), (Ok(()), vec!["W/\"7\"", "\"7\""]));
    // AMI: only `*`.
    let (ended, sent) = lit(Some("\"7\""), None, |tag| if tag == Some("*") { 204 } else { 412 }).await;
    assert_eq!((ended, tags(&sent)), (Ok(()), vec!["\"7\"", "*"]));
    // No condition is taken in any form.
    let (ended, sent) = lit(Some("\"7\""), None, |tag| if tag.is_none() { 204 } else { 412 }).await;
    assert_eq!((ended, tags(&sent)), (Ok(()), vec!["\"7\"", "*", "-"]));
    // None served, none sent.
    let (ended, sent) = lit(None, None, |tag| if tag.is_none() { 204 } else { 412 }).await;
    assert_eq!((ended, tags(&sent)), (Ok(()), vec!["-"]));
}

#[tokio::test]
async fn anything_but_a_refused_condition_is_sent_once() {
    let refusals: [fn(Option<&str>) -> u16; 6] = [|_| 400, |_| 401, |_| 403, |_| 409, |_| 500, |_| 503];
    for refusal in refusals {
        let (ended, sent) = lit(Some("\"7\""), None, refusal).await;
        assert!(ended.is_err() && sent.len() == 1, "{}: {ended:?} {sent:?}", refusal(None));
    }
    let (ended, sent) = lit(Some("\"7\""), None, |_| 412).await;
    assert_eq!((ended.is_err(), tags(&sent)), (true, vec!["\"7\"", "*", "-"]), "refused in every form is refused");
}
