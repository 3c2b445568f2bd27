//! Several ways in to one BMC as one: the fallback rule of safety.md, 12.
use super::Bmc;
use crate::{
    guards::Permit,
    model::{BmcView, BootOverride, BootSetup, Fault, FaultKind, Firmware, Health, LiveTask, LogEntry, ResetType, Task, Update},
};
use async_trait::async_trait;
use futures::future::BoxFuture;
use std::sync::Arc;

pub struct Ways(pub Vec<Arc<dyn Bmc>>);

impl Ways {
    /// A read goes to the next way after any fault.
    async fn read<T>(&self, ask: impl for<'a> Fn(&'a dyn Bmc) -> BoxFuture<'a, Result<T, Fault>>) -> Result<T, Fault> {
        let mut faults = Vec::new();
        for way in &self.0 {
            match ask(way.as_ref()).await {
                Ok(seen) => return Ok(seen),
                Err(fault) => faults.push(fault),
            }
        }
        Err(merged(faults))
    }

    /// That a second way has no tasks is no answer for a first that has them and will not tell now (safety.md, 13).
    async fn read_tasks<T>(&self, ask: impl for<'a> Fn(&'a dyn Bmc) -> BoxFuture<'a, Result<T, Fault>>) -> Result<T, Fault> {
        let mut faults = Vec::new();
        for way in &self.0 {
            match ask(way.as_ref()).await {
                Err(fault) if matches!(fault.kind, FaultKind::Unreachable | FaultKind::Unable) => faults.push(fault),
                other => return other,
            }
        }
        // Dead, or without tasks: what the last one says.
        Err(merged(faults))
    }

    /// A second way that knows no boot order is no answer for a first that does and is silent now: the picture after would lack what the one before had.
    async fn read_setup(&self) -> Result<BootSetup, Fault> {
        let mut silent = None;
        let mut unable = Vec::new();
        for way in &self.0 {
            match way.boot_setup().await {
                Err(fault) if fault.kind == FaultKind::Unable => unable.push(fault),
                Err(fault) => silent = silent.or(Some(fault)),
                seen => return seen,
            }
        }
        Err(silent.unwrap_or_else(|| merged(unable)))
    }

    /// A write goes to the next way only where nothing can have happened on this one (safety.md, 12).
    async fn write(&self, send: impl for<'a> Fn(&'a dyn Bmc) -> BoxFuture<'a, Result<(), Fault>>) -> Result<(), Fault> {
        let mut faults = Vec::new();
        for way in &self.0 {
            let Err(fault) = send(way.as_ref()).await else { return Ok(()) };
            let next = matches!(fault.kind, FaultKind::Unreachable | FaultKind::Unable);
            faults.push(fault);
            if !next {
                break;
            }
        }
        Err(merged(faults))
    }
}

#[async_trait]
impl Bmc for Ways {
    fn protocol(&self) -> &'static str {
        self.0.first().map_or("none", |way| way.protocol())
    }
    fn endpoint(&self) -> String {
        self.0.iter().map(|way| way.endpoint()).collect::<Vec<_>>().join(", ")
    }

    async fn look(&self) -> Result<BmcView, Fault> {
        self.read(|way| way.look()).await
    }
    async fn look_and_boot(&self) -> Result<(BmcView, Result<BootOverride, Fault>), Fault> {
        self.read(|way| way.look_and_boot()).await
    }
    async fn firmware(&self) -> Result<Vec<Firmware>, Fault> {
        self.read(|way| way.firmware()).await
    }
    async fn live_tasks(&self) -> Result<Vec<LiveTask>, Fault> {
        self.read_tasks(|way| way.live_tasks()).await
    }
    async fn tasks(&self) -> Result<Vec<Task>, Fault> {
        self.read_tasks(|way| way.tasks()).await
    }
    async fn update(&self, ask: &Update) -> Result<(), Fault> {
        self.write(|way| {
            let ask = ask.clone();
            Box::pin(async move { way.update(&ask).await })
        })
        .await
    }
    async fn keep_image(&self, ask: &Update, needed: bool) -> Result<(), Fault> {
        for way in &self.0 {
            way.keep_image(ask, needed).await?;
        }
        Ok(())
    }
    async fn boot_override(&self) -> Result<BootOverride, Fault> {
        self.read(|way| way.boot_override()).await
    }
    async fn set_boot_override(&self, to: &BootOverride) -> Result<(), Fault> {
        self.write(|way| {
            let to = to.clone();
            Box::pin(async move { way.set_boot_override(&to).await })
        })
        .await
    }
    async fn boot_setup(&self) -> Result<BootSetup, Fault> {
        self.read_setup().await
    }
    async fn log_since(&self, id: Option<&str>) -> Result<Vec<LogEntry>, Fault> {
        self.read(|way| {
            let id = id.map(str::to_owned);
            Box::pin(async move { way.log_since(id.as_deref()).await })
        })
        .await
    }
    async fn health(&self) -> Result<Health, Fault> {
        self.read(|way| way.health()).await
    }
    async fn identify_light(&self) -> Result<bool, Fault> {
        self.read(|way| way.identify_light()).await
    }
    async fn set_identify_light(&self, on: bool) -> Result<(), Fault> {
        self.write(|way| way.set_identify_light(on)).await
    }

    /// Power goes to the next way only where nothing can have happened on this one.
    async fn power(&self, verb: ResetType, permit: &mut Permit) -> Result<(), Fault> {
        let mut faults = Vec::new();
        for way in &self.0 {
            let Err(fault) = way.power(verb, permit).await else { return Ok(()) };
            if !moves_on(&mut faults, fault, permit) {
                break;
            }
        }
        Err(merged(faults))
    }
    async fn restart(&self, permit: &mut Permit) -> Result<(), Fault> {
        let mut faults = Vec::new();
        for way in &self.0 {
            let Err(fault) = way.restart(permit).await else { return Ok(()) };
            if !moves_on(&mut faults, fault, permit) {
                break;
            }
        }
        Err(merged(faults))
    }

    async fn close(&self) {
        for way in &self.0 {
            way.close().await;
        }
    }
}

/// To the next way, where nothing can have happened on this one: only then is the permit given back.
fn moves_on(faults: &mut Vec<Fault>, fault: Fault, permit: &mut Permit) -> bool {
    let next = matches!(fault.kind, FaultKind::Unreachable | FaultKind::Unable) && permit.refund(&fault);
    faults.push(fault);
    next
}

/// The last fault decides what may be done next; the earlier ones are told with it.
fn merged(mut faults: Vec<Fault>) -> Fault {
    match faults.pop() {
        None => Fault::new(FaultKind::Unable, "the inventory names no way in to this BMC"),
        Some(last) => faults.into_iter().fold(last, |last, earlier| {
            let credential = last.credential.clone().or(earlier.credential.clone());
            Fault { credential, ..last.cause(format!("before that: {earlier}")) }
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        guards::{Pins, Readings, permit},
        model::{Identity, NodeName, Power},
    };
    use std::sync::Mutex;

    /// Spends the permit, as a driver does, and then ends as told. Nothing is sent where it is out of reach.
    struct Way {
        end: Result<(), FaultKind>,
        asked: Mutex<u32>,
    }
    #[async_trait]
    impl Bmc for Way {
        fn protocol(&self) -> &'static str {
            "fake"
        }
        fn endpoint(&self) -> String {
            "fake".into()
        }
        async fn look(&self) -> Result<BmcView, Fault> {
            self.end.map(|()| view()).map_err(|kind| Fault::new(kind, "fake"))
        }
        async fn power(&self, verb: ResetType, permit: &mut Permit) -> Result<(), Fault> {
            permit.spend(None, verb)?;
            *self.asked.lock().expect("BUG: poisoned") += 1;
            self.end.map_err(|kind| Fault::new(kind, "fake"))
        }
        async fn close(&self) {}
    }

    fn view() -> BmcView {
        let identity = Identity { uuid: Some("4c4c4544-0051-3010-8052-b4c04f4e4d32".into()), ..Identity::default() };
        BmcView {
            protocol: "fake".into(),
            endpoint: "fake".into(),
            identity,
            power: Power::On,
            verbs: vec![],
            reset_marker: None,
            boot_progress: None,
            product: None,
            warnings: vec![],
        }
    }

    #[tokio::test]
    async fn inv_12_power_takes_the_second_way_only_where_nothing_happened() {
        use FaultKind::*;
        for (first, second_is_asked) in
            [(Ok(()), 0), (Err(Unreachable), 1), (Err(Unable), 1), (Err(Unwilling), 0), (Err(Denied), 0), (Err(Unknown), 0), (Err(Invalid), 0)]
        {
            let way = |end| Arc::new(Way { end, asked: Mutex::new(0) });
            let (one, two) = (way(first), way(Ok(())));
            let ways = Ways(vec![one.clone(), two.clone()]);
            let node = NodeName("edge-07".into());
            let pins = Pins { vouched: Some("a test".into()), ..Pins::default() };
            let read_at = tokio::time::Instant::now();
            let moment = Some(crate::guards::Moment::quiet());
            let readings =
                Readings { read_at, bmc: Ok(view()), clusters: vec![], host: None, carried_host: None, tasks: Ok(vec![]), started: vec![], pins, moment };
            let mut permit = permit(&node, ResetType::ForceRestart, &readings).unwrap();
            let ended = ways.power(ResetType::ForceRestart, &mut permit).await;
            assert_eq!((*one.asked.lock().unwrap(), *two.asked.lock().unwrap()), (1, second_is_asked), "{first:?}");
            assert_eq!(ended.is_ok(), first.is_ok() || second_is_asked == 1, "{first:?}");
            assert!(permit.spend(None, ResetType::ForceRestart).is_err(), "{first:?}: the permit is spent");
            assert!(ways.look().await.is_ok(), "{first:?}: a read may go to the next way after any fault");
        }
    }
}
