//! A network for unit tests: canned answers.
use super::{HttpAsk, HttpSeen, Net};
use crate::model::{Fault, Span};
use async_trait::async_trait;

pub struct Canned {
    pub http: Result<HttpSeen, Fault>,
    pub tcp: Result<(), Fault>,
}

#[async_trait]
impl Net for Canned {
    async fn http(&self, _: &HttpAsk) -> Result<HttpSeen, Fault> {
        self.http.clone()
    }
    async fn tcp(&self, _: &str, _: u16, _: Span) -> Result<(), Fault> {
        self.tcp.clone()
    }
}
