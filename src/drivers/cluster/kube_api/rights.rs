//! What our account may do, asked of the API server itself (SelfSubjectAccessReview stores nothing).
use super::{Api, Call, kubevirt};
use crate::model::Fault;
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
