//! What our account may do, asked of the API server itself (SelfSubjectAccessReview stores nothing).
use super::{Api, Call, kubevirt};
use crate::model::{Fault, FaultKind};
use k8s_openapi::apimachinery::pkg::version::Info;
use serde_json::{Value, json};

#[derive(Debug, Clone, Copy)]
pub struct Right<'a> {
    pub verb: &'static str,
    pub group: &'static str,
    /// `pods/eviction`.
    pub resource: &'static str,
    pub namespace: Option<&'a str>,
    /// The one object it is about: a role may name it.
    pub name: &'static str,
}

impl std::fmt::Display for Right<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        self.namespace.map_or(Ok(()), |ns| write!(f, " in {ns}"))
    }
}

/// What is needed only where these are installed: to see who would fight us, and what keeps data.
pub async fn rights_there(api: &Api) -> Result<Vec<Right<'static>>, Fault> {
    let mut rights = kubevirt::rights(api).await?;
    for (group, resources) in [
        ("metal3.io", &["baremetalhosts"][..]),
        ("remediation.medik8s.io", &["nodehealthchecks"]),
        ("nodemaintenance.medik8s.io", &["nodemaintenances"]),
        ("ceph.rook.io", &["cephclusters"]),
        ("longhorn.io", &["volumes", "replicas", "nodes"]),
    ] {
        if api.has_group(group).await? {
            rights.extend(resources.iter().map(|resource| Right { verb: "list", group, resource, namespace: None, name: "" }));
        }
    }
    if api.has_group("ceph.rook.io").await? {
        rights.push(Right { verb: "list", group: "apps", resource: "deployments", namespace: None, name: "" });
        rights.push(Right { verb: "get", group: "", resource: "configmaps", namespace: None, name: "rook-ceph-pdbstatemap" });
    }
    Ok(rights)
}

/// The server's version, what of `rights` (and of what is installed there) we do not have, and what a person should read.
pub async fn probe(api: &Api, mut rights: Vec<Right<'_>>) -> Result<(String, Vec<String>, Vec<String>), Fault> {
    let what = "read the version of the API server";
    let version: Info = api.ask(what, Call::Get { path: "", name: "version" }).await?.parse(what)?;
    let mut warnings = Vec::new();
    if !api.verified().await? {
        warnings.push("TLS is not verified: the kubeconfig says insecure-skip-tls-verify".into());
    }
    match rights_there(api).await {
        Ok(more) => rights.extend(more),
        Err(f) if matches!(f.kind, FaultKind::Unable | FaultKind::Denied) => warnings.push(format!("what is installed there could not be asked for: {f}")),
        Err(f) => return Err(f),
    }
    let missing = match missing(api, &rights).await {
        Ok(missing) => missing,
        // Old or closed servers: what is missing shows when it is needed.
        Err(f) if matches!(f.kind, FaultKind::Unable | FaultKind::Denied) => {
            warnings.push(format!("rights could not be asked for: {f}"));
            Vec::new()
        }
        Err(f) => return Err(f),
    };
    Ok((version.git_version, missing, warnings))
}

/// Those of `rights` that we do not have.
pub async fn missing(api: &Api, rights: &[Right<'_>]) -> Result<Vec<String>, Fault> {
    let ask = async |right: &Right<'_>| -> Result<Option<String>, Fault> {
        let (resource, sub) = right.resource.split_once('/').unwrap_or((right.resource, ""));
        let attributes = json!({ "verb": right.verb, "group": right.group, "resource": resource, "subresource": sub,
            "namespace": right.namespace.unwrap_or(""), "name": right.name });
        let body = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": { "resourceAttributes": attributes } });
        let reply = api.ask("ask what we may do", Call::Create { path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body }).await?;
        let answer: Value = reply.parse("ask what we may do")?;
        Ok((answer["status"]["allowed"] != true).then(|| right.to_string()))
    };
    let answers = futures::future::try_join_all(rights.iter().map(ask)).await?;
    Ok(answers.into_iter().flatten().collect())
}
