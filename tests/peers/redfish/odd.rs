//! What real BMCs do and no public peer does: full session tables, forgotten tokens, HTML, lost answers, strange lists.
use super::{
    mock::{Answer, Asked, Mock, RESET, SESSIONS, SYSTEM, SYSTEMS, frame, session, system},
    permit_for, power,
};
use pitstop::model::{FaultKind, Power, ResetType};
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::SeqCst},
};

fn reset() -> String {
    format!("POST {RESET}")
}

#[tokio::test]
async fn every_request_is_as_bmcs_want_it() {
    let mock = Mock::start(|_| None).await;
    let bmc = mock.bmc(json!({}));
    power(&*bmc, ResetType::ForceOff).await.unwrap();
    bmc.close().await;
    let asked = mock.asked();
    for a in &asked {
        assert_eq!((a.header("odata-version"), a.header("accept-encoding"), a.header("connection")), (Some("4.0"), Some("identity"), Some("close")));
        // The password goes to one place, and the token to all others but the open root.
        let (root, sessions) = (a.path == "/redfish/v1/", a.path == SESSIONS);
        assert_eq!(a.header("x-auth-token"), if root || sessions { None } else { Some("token-1") }, "{}", a.line());
        assert_eq!((a.header("authorization"), a.body.to_string().contains("secret12")), (None, sessions));
    }
    let sent: Vec<_> = asked.iter().filter(|a| a.line() == reset()).map(|a| a.body.clone()).collect();
    assert_eq!(sent, [json!({ "ResetType": "ForceOff" })]);
    // Where Location named another host, the session is still given back to this one.
    assert_eq!(asked.last().unwrap().line(), format!("DELETE {SESSIONS}/1"));
    assert_eq!(mock.count(&format!("POST {SESSIONS}")), 1);
}

#[tokio::test]
async fn basic_where_there_are_no_sessions_or_none_free() {
    for status in [404, 405, 501, 503, 500] {
        let mock = Mock::start(move |a| (a.path == SESSIONS).then(|| Answer::Json(status, json!({})))).await;
        let bmc = mock.bmc(json!({}));
        power(&*bmc, ResetType::ForceOff).await.unwrap();
        bmc.close().await;
        let asked = mock.asked();
        let system = asked.iter().find(|a| a.path == SYSTEM).unwrap();
        assert_eq!(system.header("authorization"), Some("Basic cm9vdDpzZWNyZXQxMg=="), "{status}");
        // Asked once, and no session is closed that was never opened.
        assert_eq!((mock.count(&format!("POST {SESSIONS}")), asked.iter().filter(|a| a.method == "DELETE").count()), (1, 0));
        let fault = mock.bmc(json!({ "auth": "session" })).look().await.unwrap_err();
        assert!(matches!(fault.kind, FaultKind::Unable | FaultKind::Unwilling), "{status}: {fault}");
    }
}

#[tokio::test]
async fn sessions_that_nobody_shows_are_not_tried() {
    let mock = Mock::start(|a| match (a.path.as_str(), a.header("authorization")) {
        ("/redfish/v1/", _) => Some(Answer::Json(200, json!({ "Systems": { "@odata.id": SYSTEMS } }))),
        (_, None) => Some(Answer::Json(401, json!({}))),
        _ => None,
    })
    .await;
    mock.bmc(json!({})).look().await.unwrap();
    assert_eq!(mock.count(&format!("POST {SESSIONS}")), 0);
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_and_a_rotated_one_is_found() {
    let only =
        |password: &'static str| move |a: &Asked| (a.path == SESSIONS && a.body["Password"] != password).then(|| Answer::Json(401, json!({ "echo": a.body })));
    let mock = Mock::start(only("new-secret")).await;
    let fault = mock.bmc(json!({})).look().await.unwrap_err();
    assert_eq!((fault.kind, mock.count(&format!("POST {SESSIONS}"))), (FaultKind::Denied, 1));
    assert!(!format!("{fault} {fault:?}").contains("secret12"), "{fault:?}");

    let mock = Mock::start(only("new-secret")).await;
    mock.bmc_with(&["old-secret", "new-secret"], json!({})).look().await.unwrap();
    assert_eq!(mock.count(&format!("POST {SESSIONS}")), 2);

    let mock = Mock::start(|a| a.header("authorization").map(|_| Answer::Json(401, json!({})))).await;
    let fault = mock.bmc(json!({ "auth": "basic" })).look().await.unwrap_err();
    assert_eq!((fault.kind, mock.count(&format!("GET {SYSTEMS}"))), (FaultKind::Denied, 1), "{fault}");
}

#[tokio::test]
async fn a_forgotten_token_costs_one_more_login() {
    let (logins, valid) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(1)));
    let now_valid = valid.clone();
    let mock = Mock::start(move |a| {
        if a.path == SESSIONS {
            return Some(session(logins.fetch_add(1, SeqCst) + 1));
        }
        let expected = format!("token-{}", now_valid.load(SeqCst));
        a.header("x-auth-token").filter(|token| *token != expected).map(|_| Answer::Json(401, json!({})))
    })
    .await;
    let bmc = mock.bmc(json!({}));
    let view = bmc.look().await.unwrap();
    valid.store(2, SeqCst); // the BMC restarts
    bmc.look().await.unwrap();
    assert_eq!(mock.count(&format!("POST {SESSIONS}")), 2);
    // It restarts again: the reset itself finds the new session ready, and is sent once.
    valid.store(3, SeqCst);
    bmc.power(ResetType::ForceOff, &mut permit_for(ResetType::ForceOff, &view)).await.unwrap();
    assert_eq!((mock.count(&format!("POST {SESSIONS}")), mock.count(&reset())), (3, 1));
    // It takes no token at all any more: no endless logins.
    valid.store(99, SeqCst);
    assert_eq!(bmc.look().await.unwrap_err().kind, FaultKind::Denied);
    assert_eq!(mock.count(&format!("POST {SESSIONS}")), 4);
}

#[tokio::test]
async fn a_write_is_sent_once_whatever_becomes_of_its_answer() {
    let check = async |answer: fn() -> Answer, kind: Result<(), FaultKind>, text: &str| {
        let mock = Mock::start(move |a| (a.line() == reset()).then(answer)).await;
        let bmc = mock.bmc(json!({ "timeout": "1s", "connect_timeout": "500ms" }));
        let result = power(&*bmc, ResetType::ForceOff).await;
        assert_eq!(result.as_ref().map_err(|f| f.kind).copied(), kind, "{text}: {result:?}");
        if let Err(fault) = result {
            assert!(fault.to_string().contains(text), "`{fault}` lacks `{text}`");
        }
        assert_eq!(mock.count(&reset()), 1, "{text}");
    };
    use FaultKind::*;
    let message = |id: &str| json!({ "error": { "@Message.ExtendedInfo": { "MessageId": format!("X.1.0.{id}"), "Message": "In words." } } });
    check(|| Answer::Drop, Err(Unknown), "the connection broke before the answer").await;
    check(|| Answer::Hang, Err(Unknown), "no answer in time").await;
    check(|| Answer::Json(500, json!({})), Err(Unknown), "500").await;
    check(|| Answer::Full(504, vec![], "text/html", b"<html>Gateway</html>".to_vec()), Err(Unknown), "<html>Gateway</html>").await;
    check(|| Answer::Full(307, vec!["Location: /redfish/v1/odd/place/Reset".into()], "text/plain", vec![]), Err(Unknown), "307").await;
    check(|| Answer::Json(401, json!({})), Err(Denied), "401").await;
    check(|| Answer::Json(403, json!({})), Err(Denied), "403").await;
    check(|| Answer::Json(404, json!({})), Err(Unable), "404").await;
    check(|| Answer::Json(501, json!({})), Err(Unable), "501").await;
    check(|| Answer::Json(400, json!({})), Err(Unable), "400").await;
    check(|| Answer::Json(409, json!({})), Err(Unwilling), "409").await;
    check(|| Answer::Full(503, vec!["Retry-After: 17".into()], "text/html", vec![]), Err(Unwilling), "retry after 17").await;
    // Not a list but one object, as one maker sends it.
    assert_eq!(message("InvalidOperationForSystemState")["error"]["@Message.ExtendedInfo"]["Message"], "In words.");
    check(
        || {
            Answer::Json(
                400,
                json!({ "error": { "@Message.ExtendedInfo": { "MessageId": "iLO.2.14.InvalidOperationForSystemState", "Message": "In words." } } }),
            )
        },
        Err(Unwilling),
        "In words",
    )
    .await;
    // The status is the answer: half a body takes nothing back.
    check(|| Answer::Half(200), Ok(()), "").await;
    check(|| Answer::Json(202, json!({ "error": { "@Message.ExtendedInfo": [{ "MessageId": "Base.1.0.Success" }] } })), Ok(()), "").await;
}

#[tokio::test]
async fn what_fails_before_the_write_leaves_no_doubt() {
    let broken = Arc::new(AtomicU32::new(0));
    let now = broken.clone();
    let mock = Mock::start(move |a| match (now.load(SeqCst), a.path.as_str()) {
        (1, SYSTEM) => Some(Answer::Hang),
        (2, SYSTEM) => Some(Answer::Full(200, vec![], "text/html", b"<html>booting</html>".to_vec())),
        (3, SYSTEM) => {
            let mut other = system();
            other["UUID"] = json!("99999999-0051-3010-8052-b4c04f4e4d32");
            Some(Answer::Json(200, other))
        }
        _ => None,
    })
    .await;
    let bmc = mock.bmc(json!({ "timeout": "1s", "connect_timeout": "500ms" }));
    let view = bmc.look().await.unwrap();
    for (state, kind) in [(1, FaultKind::Unreachable), (2, FaultKind::Unreachable), (3, FaultKind::Unwilling)] {
        broken.store(state, SeqCst);
        let mut permit = permit_for(ResetType::ForceOff, &view);
        let fault = bmc.power(ResetType::ForceOff, &mut permit).await.unwrap_err();
        assert_eq!(fault.kind, kind, "{fault}");
        assert_eq!(mock.count(&reset()), 0);
        // As a read it is what it is: sent and not answered, or senseless.
        let seen = bmc.look().await.map(|v| v.power).map_err(|f| f.kind);
        assert_eq!(seen, [Err(FaultKind::Unknown), Err(FaultKind::Invalid), Ok(Power::On)][state as usize - 1]);
    }
    // A permit of another verb reaches nothing.
    broken.store(0, SeqCst);
    bmc.look().await.unwrap();
    let fault = bmc.power(ResetType::ForceOff, &mut permit_for(ResetType::On, &view)).await.unwrap_err();
    assert_eq!((fault.kind, mock.count(&reset())), (FaultKind::Unwilling, 0), "{fault}");
    drop(mock);
}

#[tokio::test]
async fn verbs_from_the_action_info_or_from_nowhere() {
    let with = |info: bool| {
        move |a: &Asked| match a.path.as_str() {
            SYSTEM => {
                let mut doc = system();
                doc["Actions"] = json!({ "#ComputerSystem.Reset": { "target": RESET } });
                if info {
                    doc["Actions"]["#ComputerSystem.Reset"]["@Redfish.ActionInfo"] = json!("/redfish/v1/info");
                }
                Some(Answer::Json(200, doc))
            }
            "/redfish/v1/info" => Some(Answer::Json(200, json!({ "Parameters": [{ "Name": "ResetType", "AllowableValues": ["On", "ForceOff", "Nmi"] }] }))),
            RESET if a.body["ResetType"] == "PowerCycle" => Some(Answer::Json(400, json!({}))),
            _ => None,
        }
    };
    let mock = Mock::start(with(true)).await;
    let bmc = mock.bmc(json!({}));
    assert_eq!(bmc.look().await.unwrap().verbs, [ResetType::On, ResetType::ForceOff]);
    let fault = power(&*bmc, ResetType::GracefulRestart).await.unwrap_err();
    assert_eq!((fault.kind, mock.count(&reset())), (FaultKind::Unable, 0), "{fault}");

    let mock = Mock::start(with(false)).await;
    let bmc = mock.bmc(json!({}));
    assert_eq!(bmc.look().await.unwrap().verbs, []);
    let fault = power(&*bmc, ResetType::PowerCycle).await.unwrap_err();
    assert_eq!((fault.kind, mock.count(&reset())), (FaultKind::Unable, 1), "{fault}");
}

#[tokio::test]
async fn the_right_one_of_several_systems_or_none() {
    let two = |second: Value, status: u16| {
        Mock::start(move |a| match a.path.as_str() {
            SYSTEMS => {
                Some(Answer::Json(200, json!({ "Members": [{ "@odata.id": "/redfish/v1/Systems/HGX" }], "Members@odata.nextLink": "/redfish/v1/Systems?p=2" })))
            }
            "/redfish/v1/Systems?p=2" => Some(Answer::Json(200, json!({ "Members": [{ "@odata.id": SYSTEM, "Id": "node" }, null, 7] }))),
            "/redfish/v1/Systems/HGX" => Some(Answer::Json(status, second.clone())),
            _ => None,
        })
    };
    let hgx = |actions: Value| json!({ "Id": "HGX", "UUID": "99999999-0051-3010-8052-b4c04f4e4d32", "PowerState": "Off", "Actions": actions });
    let mock = two(hgx(json!({})), 200).await;
    assert_eq!(mock.bmc(json!({})).look().await.unwrap().power, Power::On);
    assert_eq!(mock.bmc(json!({ "system_id": "HGX" })).look().await.unwrap().warnings.len(), 2);

    let mock = two(hgx(json!({ "#ComputerSystem.Reset": { "target": "/x" } })), 200).await;
    let fault = mock.bmc(json!({})).look().await.unwrap_err();
    assert!(fault.kind == FaultKind::Invalid && fault.what.contains("HGX, node"), "{fault}");
    assert_eq!(mock.bmc(json!({ "system_id": "node" })).look().await.unwrap().power, Power::On);
    // Whether the silent one is meant as well cannot be known.
    let mock = two(json!({}), 500).await;
    assert_eq!(mock.bmc(json!({})).look().await.unwrap_err().kind, FaultKind::Unwilling);
    let mock = two(json!({}), 404).await;
    assert_eq!(mock.bmc(json!({})).look().await.unwrap().power, Power::On);

    for members in [Value::Null, json!([]), json!("[]")] {
        let mock = Mock::start(move |a| (a.path == SYSTEMS).then(|| Answer::Json(200, json!({ "Members": members })))).await;
        let fault = mock.bmc(json!({})).look().await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Unable, "{fault}");
    }
}

#[tokio::test]
async fn only_off_is_off() {
    for (state, power) in [
        (json!("On"), Power::On),
        (json!("Off"), Power::Off),
        (json!("PoweringOff"), Power::Unknown),
        (json!("PoweringOn"), Power::Unknown),
        (json!("Paused"), Power::Unknown),
        (json!("off"), Power::Unknown),
        (json!(null), Power::Unknown),
        (json!(false), Power::Unknown),
    ] {
        let shown = state.clone();
        let mock = Mock::start(move |a| {
            let mut doc = system();
            doc["PowerState"] = shown.clone();
            (a.path == SYSTEM).then_some(Answer::Json(200, doc))
        })
        .await;
        assert_eq!(mock.bmc(json!({})).look().await.unwrap().power, power, "{state}");
    }
}

#[tokio::test]
async fn a_token_goes_to_one_origin_only() {
    let other = Mock::start(|_| Some(Answer::Json(200, system()))).await;
    let elsewhere = other.url.clone();
    let mock = Mock::start(move |a| match a.path.as_str() {
        SYSTEMS => Some(Answer::Full(307, vec!["Location: /redfish/v1/Here".into()], "text/plain", vec![])),
        "/redfish/v1/Here" => Some(Answer::Json(200, json!({ "Members": [{ "@odata.id": SYSTEM }] }))),
        SYSTEM => Some(Answer::Full(307, vec![format!("Location: {elsewhere}{SYSTEM}")], "text/plain", vec![])),
        _ => None,
    })
    .await;
    let fault = mock.bmc(json!({})).look().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Invalid, "{fault}");
    // A target elsewhere is as little believed.
    let target = format!("{}{RESET}", other.url);
    let mock = Mock::start(move |a| {
        let mut doc = system();
        doc["Actions"]["#ComputerSystem.Reset"]["target"] = json!(target);
        (a.path == SYSTEM).then_some(Answer::Json(200, doc))
    })
    .await;
    let fault = power(&*mock.bmc(json!({})), ResetType::ForceOff).await.unwrap_err();
    assert!(fault.to_string().contains("which is not itself"), "{fault}");
    assert_eq!(other.asked().len(), 0);
    // Round and round.
    let mock = Mock::start(|a| (a.path == SYSTEMS).then(|| Answer::Full(302, vec![format!("Location: {SYSTEMS}")], "text/plain", vec![]))).await;
    assert_eq!(mock.bmc(json!({})).look().await.unwrap_err().kind, FaultKind::Invalid);
    assert_eq!(mock.count(&format!("GET {SYSTEMS}")), 6);
}

#[tokio::test]
async fn bodies_that_are_no_resources() {
    let check = async |kind: &'static str, body: Vec<u8>, expected: FaultKind| {
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        let mock = Mock::start(move |a| (a.path == SYSTEM).then(|| Answer::Full(200, vec![], kind, body.clone()))).await;
        let fault = mock.bmc(json!({})).look().await.unwrap_err();
        assert_eq!(fault.kind, expected, "{shown}: {fault}");
        assert!(fault.to_string().len() < 2000 && !fault.to_string().contains(['\n', '\x1b']), "{fault}");
    };
    check("text/html", b"<html>\n\x1b[31m504</html>".to_vec(), FaultKind::Invalid).await;
    check("application/json", b"{ \"Id\": ".to_vec(), FaultKind::Invalid).await;
    check("application/json", b"[]".to_vec(), FaultKind::Invalid).await;
    check("application/json", Vec::new(), FaultKind::Invalid).await;
    check("application/json", b"[".repeat(200_000), FaultKind::Invalid).await;
    check("application/json", vec![b' '; (16 << 20) + 1], FaultKind::Invalid).await;
}

#[tokio::test]
async fn a_moved_system_is_found_again() {
    let moved = Arc::new(AtomicU32::new(0));
    let now = moved.clone();
    let mock = Mock::start(move |a| match (now.load(SeqCst), a.path.as_str()) {
        (1, SYSTEM) => Some(Answer::Json(404, json!({}))),
        (1, SYSTEMS) => Some(Answer::Json(200, json!({ "Members": [{ "@odata.id": "/redfish/v1/Systems/new" }] }))),
        (1, "/redfish/v1/Systems/new") => Some(Answer::Json(200, system())),
        _ => None,
    })
    .await;
    let bmc = mock.bmc(json!({}));
    bmc.look().await.unwrap();
    bmc.look().await.unwrap();
    assert_eq!(mock.count(&format!("GET {SYSTEMS}")), 1);
    moved.store(1, SeqCst);
    bmc.look().await.unwrap();
    assert_eq!(mock.count(&format!("GET {SYSTEMS}")), 2);
}

/// Seeded: a failure names its seed. Every answer of a whole look and reset is bent, and nothing panics, and no reset is sent twice.
#[tokio::test]
async fn bent_answers_never_panic() {
    let (mut done, mut refused) = (0, 0);
    for seed in 0..400u64 {
        let mock = Mock::start(move |a| {
            let Some(Answer::Json(status, doc)) = frame(a) else { return None };
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ a.path.len() as u64;
            let mut text = doc.to_string().into_bytes();
            for _ in 0..(next(&mut random) % 5).saturating_sub(2) {
                let at = next(&mut random) as usize % text.len();
                match next(&mut random) % 3 {
                    0 => text[at] = b"{}[]\",:0nt\\\xff\0 "[next(&mut random) as usize % 14],
                    1 => text.truncate(at.max(1)),
                    _ => text.insert(at, b'"'),
                }
            }
            Some(Answer::Full(status, vec![], "application/json", text))
        })
        .await;
        let bmc = mock.bmc(json!({ "timeout": "5s", "connect_timeout": "2s" }));
        if let Ok(view) = bmc.look().await
            && view.identity.uuid_key().is_some()
        {
            let result = bmc.power(ResetType::ForceOff, &mut permit_for(ResetType::ForceOff, &view)).await;
            assert_eq!(mock.count(&reset()), usize::from(result.is_ok()), "seed {seed}: {result:?}");
            done += u32::from(result.is_ok());
        } else {
            refused += 1;
        }
        bmc.close().await;
    }
    assert!(done > 20 && refused > 20, "{done} resets, {refused} refusals: the mutations test nothing");
}

/// splitmix64
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
