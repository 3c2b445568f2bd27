//! `pitstop playbook`: which there are, what one does. Contacts nothing.
use super::{args::PlaybookArgs, context::Context, failure::Failure};
use crate::playbook;

pub async fn run(cx: &Context, args: PlaybookArgs) -> Result<u8, Failure> {
    let dir = cx.global.playbooks.as_deref();
    if let Some(name) = &args.playbook {
        let checked = cx.playbook(name)?;
        if cx.json {
            cx.data(&checked)?;
        } else if let Ok(file) = playbook::text(dir, name) {
            out!("{}", file.text);
        }
        return Ok(0);
    }
    let mut listed = Vec::new();
    for (name, path) in playbook::names(dir) {
        let shown = path.as_ref().map_or("built in".to_owned(), |p| p.display().to_string());
        let about = cx.playbook(&name)?.description;
        listed.push((name, shown, about));
    }
    if cx.json {
        let rows: Vec<_> = listed.iter().map(|(name, from, about)| serde_json::json!({ "name": name, "from": from, "description": about })).collect();
        cx.data(&rows)?;
        return Ok(0);
    }
    for (name, from, about) in listed {
        outln!("{name:12}  {about}  ({from})");
    }
    Ok(0)
}
