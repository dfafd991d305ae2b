use std::time::Duration;

use bytes::Bytes;
use hotswap_core::ModuleName;
use hotswap_protocol::{ModuleStatus, NodeStatus, OrderRequest, ProbeAnswer, ProbeRequest};
use http::StatusCode;
use http_body_util::{BodyExt as _, Empty};
use poem::Request;
use poem_openapi::auth::Bearer;
use poem_openapi::param::Path;
use poem_openapi::payload::{Json, PlainText};
use poem_openapi::{ApiResponse, OpenApi, SecurityScheme};

use super::refusal::Refusal;
use super::{Context, order};
use crate::problem::problem;
use crate::process;
use crate::table::Route;
use hotswap_protocol::Problem;

/// Of a probe's answer, what is passed on.
const PROBE_BODY: usize = 64 << 10;

/// The longest that a probe waits.
const PROBE_TIME: Duration = Duration::from_secs(60);

/// The longest id of an operation, in bytes.
const OPERATION: usize = 200;

/// The routes of a node.
pub(super) struct Api {
    /// Absent where only the document is wanted.
    context: Option<Context>,
}

/// The token that the engine and its nodes share.
#[derive(SecurityScheme)]
#[oai(ty = "bearer", key_name = "nodeToken", checker = "is_engine")]
struct Engine(());

async fn is_engine(request: &Request, bearer: Bearer) -> Option<()> {
    let context = request.data::<Context>()?;
    context.token.is(&bearer.token).then_some(())
}

/// The order was carried out, now or before.
#[derive(ApiResponse)]
enum Done {
    /// It was carried out, and is on the node's disk.
    #[oai(status = 204)]
    Done,
}

/// Whether the node can be sent requests.
#[derive(ApiResponse)]
enum Ready {
    /// It can.
    #[oai(status = 200)]
    Ready(PlainText<String>),
    /// A module that it should run is not loaded.
    #[oai(status = 503, content_type = "application/problem+json")]
    NotReady(Json<Problem>),
}

#[OpenApi]
impl Api {
    /// Carry out an order
    ///
    /// The same operation is carried out once, however often it is sent, and across
    /// restarts of the node. What it did is on disk when this answers. An order that
    /// failed may be sent again under the same id.
    #[oai(path = "/v1/modules/:module/operations/:operation", method = "put")]
    async fn order(
        &self,
        _engine: Engine,
        module: Path<String>,
        operation: Path<String>,
        order: Json<OrderRequest>,
    ) -> Result<Done, Refusal> {
        let context = self.context()?;
        let module = name(&module)?;
        if operation.is_empty() || operation.len() > OPERATION {
            let detail = format!("an operation's id has 1 to {OPERATION} bytes");
            return Err(bad(detail).into());
        }
        let done = context.modules.order(module, operation.0, order.0).await;
        done.map_err(|error| order::explain(&error))?;
        Ok(Done::Done)
    }

    /// What the node holds of a module
    #[oai(path = "/v1/modules/:module", method = "get")]
    async fn module(
        &self,
        _engine: Engine,
        module: Path<String>,
    ) -> Result<Json<ModuleStatus>, Refusal> {
        let context = self.context()?;
        let module = name(&module)?;
        let table = context.modules.table();
        let route = table.get(module.as_str()).ok_or_else(|| unknown(&module))?;
        Ok(Json(status(context, module.as_str(), route)))
    }

    /// Ask the staged version directly
    ///
    /// The request passes by all routing and is not counted.
    #[oai(path = "/v1/modules/:module/probe", method = "post")]
    async fn probe(
        &self,
        _engine: Engine,
        module: Path<String>,
        probe: Json<ProbeRequest>,
    ) -> Result<Json<ProbeAnswer>, Refusal> {
        let context = self.context()?;
        let module = name(&module)?;
        let staged = {
            let table = context.modules.table();
            let route = table.get(module.as_str());
            route.and_then(|route| route.staged.clone())
        };
        let staged = staged
            .filter(|staged| *staged.id() == probe.version)
            .ok_or_else(|| {
                let detail = format!(
                    "version {} of {module} is not staged here; stage it first",
                    probe.version.version
                );
                refused(detail)
            })?;
        let request = http::Request::get(format!("http://{module}{}", probe.path))
            .body(Empty::<Bytes>::new());
        let request = match request {
            Ok(request) if probe.path.starts_with('/') => request,
            _ => return Err(bad(format!("'{}' is no path", probe.path)).into()),
        };

        let patience = Duration::from_millis(probe.timeout_millis).min(PROBE_TIME);
        let asked = async {
            let answer = staged.answer_uncounted(request).await;
            let status = answer.status().as_u16();
            let body = head(answer.into_body()).await;
            ProbeAnswer { status, body }
        };
        let answer = tokio::time::timeout(patience, asked).await;
        Ok(Json(answer.unwrap_or_else(|_| ProbeAnswer {
            status: StatusCode::GATEWAY_TIMEOUT.as_u16(),
            body: format!("no answer within {patience:?}"),
        })))
    }

    /// What the node holds
    #[oai(path = "/v1/status", method = "get")]
    async fn status(&self, _engine: Engine) -> Result<Json<NodeStatus>, Refusal> {
        let context = self.context()?;
        let table = context.modules.table();
        let mut modules: Vec<_> = table
            .iter()
            .map(|(module, route)| status(context, module, route))
            .collect();
        modules.sort_by(|a, b| a.module.cmp(&b.module));
        Ok(Json(NodeStatus {
            id: context.id.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot: context.boot.clone(),
            cpu_millis: process::cpu_millis(),
            memory_bytes: process::memory_bytes(),
            modules,
        }))
    }

    /// Whether the process runs
    #[oai(path = "/health/live", method = "get")]
    async fn live(&self) -> PlainText<&'static str> {
        PlainText("live")
    }

    /// Whether every module that the node should run is loaded
    #[oai(path = "/health/ready", method = "get")]
    async fn ready(&self) -> Ready {
        let complaint = match &self.context {
            Some(context) => context.modules.complaint(),
            None => None,
        };
        match complaint {
            None => Ready::Ready(PlainText("ready".to_owned())),
            Some(complaint) => Ready::NotReady(Json(problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "not-ready",
                "The node is not ready",
                complaint,
            ))),
        }
    }
}

impl Api {
    pub(super) fn new(context: Option<Context>) -> Self {
        Self { context }
    }

    fn context(&self) -> Result<&Context, Problem> {
        self.context.as_ref().ok_or_else(|| {
            problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "The node is not there",
                "this is its document alone".to_owned(),
            )
        })
    }
}

fn status(context: &Context, module: &str, route: &Route) -> ModuleStatus {
    let record = &route.record;
    let slots = record.slots.clone();
    ModuleStatus {
        module: module.to_owned(),
        active: slots.active,
        staged: slots.staged,
        previous: slots.previous,
        percent: slots.percent,
        fence: record.fence,
        boot: context.boot.clone(),
        cpu_millis: process::cpu_millis(),
        versions: route.counters.iter().map(|one| one.status()).collect(),
    }
}

/// The beginning of a body; what comes after a break of it is missed without a word.
async fn head(mut body: crate::body::Body) -> String {
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            bytes.extend_from_slice(&data[..data.len().min(PROBE_BODY - bytes.len())]);
        }
        if bytes.len() == PROBE_BODY {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn name(text: &str) -> Result<ModuleName, Problem> {
    text.parse()
        .map_err(|error: hotswap_core::ParseError| bad(error.to_string()))
}

fn bad(detail: String) -> Problem {
    problem(
        StatusCode::BAD_REQUEST,
        "bad-request",
        "The request does not fit",
        detail,
    )
}

fn refused(detail: String) -> Problem {
    problem(
        StatusCode::UNPROCESSABLE_ENTITY,
        "refused",
        "The order cannot be carried out",
        detail,
    )
}

fn unknown(module: &ModuleName) -> Problem {
    problem(
        StatusCode::NOT_FOUND,
        "no-such-module",
        "No such module",
        format!("this node has nothing of the module {module}; stage a version of it first"),
    )
}
