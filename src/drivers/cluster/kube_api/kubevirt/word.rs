//! What KubeVirt's eviction webhook says, by its texts: it has no codes for them, and they are all there is.
use super::vm::{Back, Vm};

/// An answer to an eviction of a virt-launcher pod, dry or not.
#[derive(Debug, Clone, PartialEq)]
pub enum Word {
    /// Nothing holds it: the VM is shut down.
    Goes,
    /// A live migration has been asked for, or is under way.
    Migrates,
    /// This pod is where a migration arrives.
    Arrives,
    NotMigratable,
    /// A hotplugged volume's pod, which follows its VM.
    Follows,
    /// Try again: the webhook did not answer or could not look.
    Later(String),
    /// It cannot be asked without doing it.
    NoDryRun,
    Other(String),
}

pub fn word(code: u16, message: &str) -> Word {
    let says = |text: &str| message.contains(text);
    match code {
        200..300 | 404 => Word::Goes,
        _ if says("Eviction triggered evacuation of VMI") || says("Evacuation in progress") => Word::Migrates,
        _ if says("Eviction request for target Pod") => Word::Arrives,
        _ if says("is not live-migratable") => Word::NotMigratable,
        _ if says("cannot evict hotplug pod") => Word::Follows,
        _ if says("kubevirt failed getting") || says("kubevirt failed marking") || says("failed calling webhook") => Word::Later(message.to_owned()),
        400 if says("dry run") => Word::NoDryRun,
        429 if says("disruption budget") => Word::Other(format!("{message} (budgets on virt-launcher pods must use an integer minAvailable)")),
        429 | 503 | 504 => Word::Later(message.to_owned()),
        _ => Word::Other(message.to_owned()),
    }
}

/// What becomes of a VM when its node is emptied.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    Migrates,
    /// Shut down by KubeVirt itself.
    ShutDown(Back),
    Blocks(String),
    Waits(String),
    Unknown(String),
}

pub fn fate(word: Word, vm: &Vm) -> Fate {
    match word {
        Word::Goes => Fate::ShutDown(vm.back.clone()),
        // It marks such a VM too, and nobody in KubeVirt acts on it.
        Word::Migrates if vm.strategy.as_deref() == Some("External") => {
            Fate::Blocks("evictionStrategy External: only the controller outside KubeVirt that it waits for can move it".into())
        }
        Word::Migrates => Fate::Migrates,
        Word::Arrives => Fate::Waits("arrives here by a live migration: it ends first, then leaves".into()),
        Word::Follows => Fate::Waits("a hotplugged volume, follows its VM".into()),
        Word::NotMigratable => Fate::Blocks(format!("cannot be live-migrated: {}", vm.why_not.as_deref().unwrap_or("KubeVirt gives no reason"))),
        Word::Later(why) => {
            let remedy = if why.contains("failed calling webhook") { "; see that virt-api is Ready: kubectl get pods -A -l kubevirt.io=virt-api" } else { "" };
            Fate::Unknown(format!("KubeVirt cannot say now: {why}{remedy}"))
        }
        Word::NoDryRun => match (vm.strategy.as_deref(), vm.migratable) {
            (Some("LiveMigrate" | "LiveMigrateIfPossible"), Some(true)) => Fate::Migrates,
            _ => Fate::Unknown("KubeVirt's webhook takes no dry run: nobody knows before it is tried".into()),
        },
        Word::Other(why) => Fate::Blocks(why),
    }
}

impl Fate {
    /// `will migrate`, `will be shut down`, `will not come back`, `blocks`: the words of plan.
    pub fn told(&self) -> String {
        match self {
            Fate::Migrates => "will migrate".into(),
            Fate::ShutDown(Back::Elsewhere(why)) => format!("will be shut down and started elsewhere ({why})"),
            Fate::ShutDown(Back::Never(why)) => format!("will be shut down and will not come back ({why})"),
            Fate::Blocks(why) => format!("blocks: {why}"),
            Fate::Waits(why) | Fate::Unknown(why) => why.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_of_the_webhook_is_told_apart() {
        let denied = |text: &str| format!("admission webhook \"virt-launcher-eviction-interceptor.kubevirt.io\" denied the request: {text}");
        let rows = [
            (201, String::new(), Word::Goes),
            (429, denied("Eviction triggered evacuation of VMI \"shop/db\""), Word::Migrates),
            (429, denied("Evacuation in progress: Eviction triggered evacuation of VMI \"shop/db\""), Word::Migrates),
            (429, denied("Eviction request for target Pod"), Word::Arrives),
            (429, denied("VMI db is configured with an eviction strategy but is not live-migratable"), Word::NotMigratable),
            (429, denied("cannot evict hotplug pod: hp-volume-x"), Word::Follows),
            (400, "admission webhook \"x\" does not support dry run".into(), Word::NoDryRun),
        ];
        for (code, message, means) in rows {
            assert_eq!(word(code, &message), means, "{code} {message}");
        }
        assert!(matches!(word(429, &denied("kubevirt failed getting the vmi: timeout")), Word::Later(_)));
        assert!(matches!(word(500, "Internal error occurred: failed calling webhook \"x\""), Word::Later(_)));
    }
}
