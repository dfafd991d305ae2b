use std::time::Duration;

use bytes::Bytes;
use hotswap_core::{ModuleName, ParseError};
use hotswap_protocol::{
    ModuleStatus, NodeStatus, OrderRequest, ProbeAnswer, ProbeRequest, Problem,
};
use http::StatusCode;
use http_body_util::{BodyExt as _, Empty};
use poem::Request;
use poem_openapi::auth::Bearer;
use poem_openapi::param::Path;
use poem_openapi::payload::{Json, PlainText};
use poem_openapi::{ApiResponse, OpenApi, SecurityScheme};

use super::ControlContext;
use super::error_response::ErrorResponse;
use super::order_problem::order_problem;
use crate::data::{ResponseBody, Route};
use crate::problem::problem;
use crate::process;

/// How much of a probe's response body is returned, in bytes.
const MAX_PROBE_BODY_BYTES: usize = 64 << 10;

/// Longest time-out of a probe.
const MAX_PROBE_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest id of an operation, in bytes.
const MAX_OPERATION_ID_BYTES: usize = 200;

/// The routes of the control API.
pub(super) struct Api {
    /// `None` if only the OpenAPI document is needed.
    context: Option<ControlContext>,
}

/// The token that the engine and its nodes share.
#[derive(SecurityScheme)]
#[oai(rename = "Engine", ty = "bearer", checker = "check_node_token")]
struct NodeToken(());

async fn check_node_token(request: &Request, bearer: Bearer) -> Option<()> {
    let context = request.data::<ControlContext>()?;
    context.token.matches(&bearer.token).then_some(())
}

/// The order was carried out, by this request or an earlier one.
#[derive(ApiResponse)]
enum OrderResponse {
    /// The order was carried out, and its outcome is on the node's disk.
    #[oai(status = 204)]
    CarriedOut,
}

/// Whether the node can serve requests.
#[derive(ApiResponse)]
enum ReadinessResponse {
    /// The node is ready.
    #[oai(status = 200)]
    Ready(PlainText<String>),
    /// A module that the node should run is not loaded.
    #[oai(status = 503, content_type = "application/problem+json")]
    NotReady(Json<Problem>),
}

#[OpenApi]
impl Api {
    /// Carry out an order
    ///
    /// An operation is carried out once, no matter how often it is sent, even across
    /// restarts of the node. Its outcome is on disk before the node answers. A failed order
    /// may be sent again with the same id.
    #[oai(path = "/v1/modules/:module/operations/:operation", method = "put")]
    async fn carry_out_order(
        &self,
        _token: NodeToken,
        module: Path<String>,
        operation: Path<String>,
        order: Json<OrderRequest>,
    ) -> Result<OrderResponse, ErrorResponse> {
        let context = self.context()?;
        let module = parse_module_name(&module)?;
        if operation.is_empty() || operation.len() > MAX_OPERATION_ID_BYTES {
            let detail = format!("an operation id has 1 to {MAX_OPERATION_ID_BYTES} bytes");
            return Err(bad_request(detail).into());
        }
        let result = context
            .modules
            .carry_out(module, operation.0, order.0)
            .await;
        result.map_err(|error| order_problem(&error))?;
        Ok(OrderResponse::CarriedOut)
    }

    /// Get a module's slots and counters
    #[oai(path = "/v1/modules/:module", method = "get")]
    async fn get_module(
        &self,
        _token: NodeToken,
        module: Path<String>,
    ) -> Result<Json<ModuleStatus>, ErrorResponse> {
        let context = self.context()?;
        let module = parse_module_name(&module)?;
        let table = context.modules.routing_table().load();
        let route = table
            .get(module.as_str())
            .ok_or_else(|| module_not_found(&module))?;
        Ok(Json(module_status(context, module.as_str(), route)))
    }

    /// Send a probe to the staged version
    ///
    /// The request bypasses all routing and is not counted.
    #[oai(path = "/v1/modules/:module/probe", method = "post")]
    async fn probe(
        &self,
        _token: NodeToken,
        module: Path<String>,
        probe: Json<ProbeRequest>,
    ) -> Result<Json<ProbeAnswer>, ErrorResponse> {
        let context = self.context()?;
        let module = parse_module_name(&module)?;
        let staged = {
            let table = context.modules.routing_table().load();
            let route = table.get(module.as_str());
            route.and_then(|route| route.staged.clone())
        };
        let staged = staged
            .filter(|staged| *staged.version() == probe.version)
            .ok_or_else(|| not_staged(&module, &probe))?;
        let request = http::Request::get(format!("http://{module}{}", probe.path))
            .body(Empty::<Bytes>::new());
        let request = match request {
            Ok(request) if probe.path.starts_with('/') => request,
            _ => {
                let detail = format!(
                    "'{}' is not a path: it must begin with '/' and have no spaces",
                    probe.path
                );
                return Err(bad_request(detail).into());
            }
        };

        let timeout = Duration::from_millis(probe.timeout_millis).min(MAX_PROBE_TIMEOUT);
        let answer = async {
            let response = staged.handle_uncounted(request).await;
            let status = response.status().as_u16();
            let body = read_beginning(response.into_body()).await;
            ProbeAnswer { status, body }
        };
        let answer = tokio::time::timeout(timeout, answer).await;
        Ok(Json(answer.unwrap_or_else(|_| ProbeAnswer {
            status: StatusCode::GATEWAY_TIMEOUT.as_u16(),
            body: format!("no response within {timeout:?}"),
        })))
    }

    /// Get the state of the node and all its modules
    #[oai(path = "/v1/status", method = "get")]
    async fn get_status(&self, _token: NodeToken) -> Result<Json<NodeStatus>, ErrorResponse> {
        let context = self.context()?;
        let table = context.modules.routing_table().load();
        let mut modules: Vec<_> = table
            .iter()
            .map(|(module, route)| module_status(context, module, route))
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

    /// Check that the process is running
    #[oai(path = "/health/live", method = "get")]
    async fn liveness(&self) -> PlainText<&'static str> {
        PlainText("live")
    }

    /// Check that all modules of the node are loaded
    #[oai(path = "/health/ready", method = "get")]
    async fn readiness(&self) -> ReadinessResponse {
        let warning = match &self.context {
            Some(context) => context.modules.health_warning(),
            None => None,
        };
        match warning {
            None => ReadinessResponse::Ready(PlainText("ready".to_owned())),
            Some(warning) => ReadinessResponse::NotReady(Json(problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "not-ready",
                "The node is not ready",
                warning,
            ))),
        }
    }
}

impl Api {
    /// The API of a node, or, without a context, only its OpenAPI document.
    pub(super) fn new(context: Option<ControlContext>) -> Self {
        Self { context }
    }

    fn context(&self) -> Result<&ControlContext, Problem> {
        self.context.as_ref().ok_or_else(|| {
            problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "There is no node",
                "this service only provides the OpenAPI document".to_owned(),
            )
        })
    }
}

fn module_status(context: &ControlContext, module: &str, route: &Route) -> ModuleStatus {
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

/// The first [`MAX_PROBE_BODY_BYTES`] of a body, or less if the body breaks off.
async fn read_beginning(mut body: ResponseBody) -> String {
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            let free = MAX_PROBE_BODY_BYTES - bytes.len();
            bytes.extend_from_slice(&data[..data.len().min(free)]);
        }
        if bytes.len() == MAX_PROBE_BODY_BYTES {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn parse_module_name(text: &str) -> Result<ModuleName, Problem> {
    text.parse()
        .map_err(|error: ParseError| bad_request(error.to_string()))
}

fn bad_request(detail: String) -> Problem {
    problem(
        StatusCode::BAD_REQUEST,
        "bad-request",
        "The request is malformed",
        detail,
    )
}

fn not_staged(module: &ModuleName, probe: &ProbeRequest) -> Problem {
    problem(
        StatusCode::UNPROCESSABLE_ENTITY,
        "refused",
        "The node rejects the probe",
        format!(
            "version {} of {module} is not staged on this node; stage it first",
            probe.version.version
        ),
    )
}

fn module_not_found(module: &ModuleName) -> Problem {
    problem(
        StatusCode::NOT_FOUND,
        "no-such-module",
        "No such module",
        format!("this node does not know the module {module}; stage a version of it first"),
    )
}
