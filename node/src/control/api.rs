//! The routes of the control API.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hotswap_common::tls::ClientCertificate;
use hotswap_core::{ModuleName, ParseError};
use hotswap_protocol::{
    HeartbeatAnswer, Identity, ModuleStatus, NodeReport, NodeStatus, OrderProgress, OrderRequest,
    PollAnswer, PollRequest, ProbeAnswer, ProbeRequest, Problem, SyntheticRequest,
};
use http::StatusCode;
use poem::Request;
use poem_openapi::auth::Bearer;
use poem_openapi::error::AuthorizationError;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::{Json, PlainText};
use poem_openapi::{ApiResponse, OpenApi, SecurityScheme};

use super::ControlContext;
use super::error_response::ErrorResponse;
use super::module_status::module_status;
use super::modules::{OrderState, check_version};
use super::order_problem::order_problem;
use super::{identity, module_probe};
use crate::problem::{bad_request, problem, problem_response};
use crate::process;

/// Longest time that an order waits for its outcome.
const MAX_ORDER_WAIT: Duration = Duration::from_secs(60);

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

async fn check_node_token(request: &Request, bearer: Bearer) -> poem::Result<()> {
    let context = request.data::<ControlContext>();
    let context = context.ok_or_else(|| poem::Error::from_status(StatusCode::NOT_FOUND))?;
    let certificate = request.extensions().get::<ClientCertificate>();
    if context.wants_certificate && certificate.is_none() {
        return Err(no_certificate());
    }
    match context.token.get().matches(&bearer.token) {
        true => Ok(()),
        false => Err(AuthorizationError.into()),
    }
}

/// Says what a client without a certificate has to do.
fn no_certificate() -> poem::Error {
    let problem = problem(
        StatusCode::FORBIDDEN,
        Problem::CLIENT_CERTIFICATE,
        "The request came without a client certificate",
        "this node takes orders only over TLS and from clients that show a certificate of its \
         --tls-client-ca: set tls.clientCert and tls.clientKey of the engine"
            .to_owned(),
    );
    let (parts, body) = problem_response(&problem).into_parts();
    let mut response = poem::Response::builder().status(parts.status).body(body);
    *response.headers_mut() = parts.headers;
    poem::Error::from_response(response)
}

/// What has become of the order, by this request or an earlier one.
#[derive(ApiResponse)]
enum OrderResponse {
    /// The node goes on with the order. Send it again, with the same id, to wait for the rest.
    #[oai(status = 202)]
    InProgress(Json<OrderProgress>),
    /// The order was carried out, and its outcome is on the node's disk.
    #[oai(status = 204)]
    CarriedOut,
}

/// What becomes of synthetic requests.
#[derive(ApiResponse)]
enum SyntheticResponse {
    /// The node sends them from now on.
    #[oai(status = 204)]
    Begun,
}

/// Whether the node can serve requests.
#[derive(ApiResponse)]
enum ReadinessResponse {
    /// The node is ready.
    #[oai(status = 200)]
    Ready(PlainText<String>),
    /// The node does not run what it should, or the engine has not told it yet.
    #[oai(status = 503, content_type = "application/problem+json")]
    NotReady(Json<Problem>),
}

#[OpenApi]
impl Api {
    /// Carry out an order
    ///
    /// An operation is carried out once, no matter how often it is sent, even across
    /// restarts of the node. Its outcome is on disk before the node answers with 204. An order
    /// that loads a version may take long: the node answers with 202 after `waitMillis` and
    /// goes on. A failed order may be sent again with the same id.
    #[oai(path = "/v1/modules/:module/operations/:operation", method = "put")]
    async fn carry_out_order(
        &self,
        _token: NodeToken,
        module: Path<String>,
        operation: Path<String>,
        /// The node that the request is for.
        #[oai(name = "hotswap-node")]
        node: Header<Option<String>>,
        /// The start of the node that the request is for: the id that it registered with.
        #[oai(name = "hotswap-boot")]
        boot: Header<Option<String>>,
        order: Json<OrderRequest>,
    ) -> Result<OrderResponse, ErrorResponse> {
        let context = self.context()?;
        context.check_start(node.as_deref(), boot.as_deref())?;
        let module = parse_module_name(&module)?;
        if operation.is_empty() || operation.len() > MAX_OPERATION_ID_BYTES {
            let detail = format!("an operation id has 1 to {MAX_OPERATION_ID_BYTES} bytes");
            return Err(bad_request(detail).into());
        }
        let mut order = order.0;
        let longest = u64::try_from(MAX_ORDER_WAIT.as_millis()).unwrap_or(u64::MAX);
        order.wait_millis = order.wait_millis.map(|wait| wait.min(longest));
        let result = context.modules.carry_out(module, operation.0, order).await;
        Ok(match result.map_err(|error| order_problem(&error))? {
            OrderState::CarriedOut => OrderResponse::CarriedOut,
            OrderState::InProgress(progress) => OrderResponse::InProgress(Json(progress)),
        })
    }

    /// Get a module's slots and counters
    #[oai(path = "/v1/modules/:module", method = "get")]
    async fn get_module(
        &self,
        _token: NodeToken,
        module: Path<String>,
        /// The node that the request is for.
        #[oai(name = "hotswap-node")]
        node: Header<Option<String>>,
    ) -> Result<Json<ModuleStatus>, ErrorResponse> {
        let context = self.context()?;
        context.check_node(node.as_deref())?;
        let module = parse_module_name(&module)?;
        let table = context.modules.routing_table().load();
        let route = table
            .get(module.as_str())
            .ok_or_else(|| module_not_found(&module))?;
        Ok(Json(module_status(context, module.as_str(), route)))
    }

    /// Send a probe to the new version
    ///
    /// It is the staged version, or the active one where a deployment finds it active already.
    /// The request bypasses all routing and is not counted.
    #[oai(path = "/v1/modules/:module/probe", method = "post")]
    async fn probe(
        &self,
        _token: NodeToken,
        module: Path<String>,
        /// The node that the request is for.
        #[oai(name = "hotswap-node")]
        node: Header<Option<String>>,
        probe: Json<ProbeRequest>,
    ) -> Result<Json<ProbeAnswer>, ErrorResponse> {
        let context = self.context()?;
        context.check_node(node.as_deref())?;
        let module = parse_module_name(&module)?;
        Ok(Json(module_probe::send(context, &module, &probe).await?))
    }

    /// Send requests of the node's own
    ///
    /// While a soak has too few requests of clients. The node sends them to versions of the module
    /// in this process, without the network, at a fixed rate and for a limited time. They count as
    /// requests of the versions, and carry the header `hotswap-synthetic`. What was asked for
    /// before ends.
    #[oai(path = "/v1/modules/:module/synthetic", method = "post")]
    async fn send_synthetic(
        &self,
        _token: NodeToken,
        module: Path<String>,
        /// The node that the request is for.
        #[oai(name = "hotswap-node")]
        node: Header<Option<String>>,
        request: Json<SyntheticRequest>,
    ) -> Result<SyntheticResponse, ErrorResponse> {
        let context = self.context()?;
        context.check_node(node.as_deref())?;
        let module = parse_module_name(&module)?;
        check_version(&request.version).map_err(|error| bad_request(error.to_string()))?;
        module_probe::check_path(&module, &request.path)?;
        let routes = context.modules.routing_table();
        if routes.load().get(module.as_str()).is_none() {
            return Err(module_not_found(&module).into());
        }
        let sent = context.synthetic.send(&module, routes, request.0);
        sent.map_err(bad_request)?;
        Ok(SyntheticResponse::Begun)
    }

    /// Get the state of the node and all its modules
    #[oai(path = "/v1/status", method = "get")]
    async fn get_status(
        &self,
        _token: NodeToken,
        /// The node that the request is for.
        #[oai(name = "hotswap-node")]
        node: Header<Option<String>>,
    ) -> Result<Json<NodeStatus>, ErrorResponse> {
        let context = self.context()?;
        context.check_node(node.as_deref())?;
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

    /// Get what a report of a fault needs
    ///
    /// Returns the end of the log. No entry has a token, a header or a body of a request.
    #[oai(path = "/v1/debug", method = "get")]
    async fn get_report(
        &self,
        _token: NodeToken,
        /// The node that the request is for.
        #[oai(name = "hotswap-node")]
        node: Header<Option<String>>,
    ) -> Result<Json<NodeReport>, ErrorResponse> {
        let context = self.context()?;
        context.check_node(node.as_deref())?;
        let (log, dropped_log_entries) = context.log.read();
        Ok(Json(NodeReport {
            id: context.id.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            log,
            dropped_log_entries,
        }))
    }

    /// Prove who the node is
    ///
    /// For an engine that has the node's address from a registry, and must not send the node token
    /// to whoever is there. The answer names the addresses of the node, with an HMAC under the node
    /// token. Needs no token itself.
    #[oai(path = "/v1/identity", method = "get")]
    async fn get_identity(
        &self,
        request: &Request,
        /// A random text, of 16 to 128 visible characters.
        challenge: Query<String>,
        /// The node that the request is for.
        #[oai(name = "hotswap-node")]
        node: Header<Option<String>>,
    ) -> Result<Json<Identity>, ErrorResponse> {
        let context = self.context()?;
        context.check_node(node.as_deref())?;
        let identity = identity::prove(context, local_addr(request), &challenge)?;
        Ok(Json(identity))
    }

    /// Ask the node what it would report
    ///
    /// For an engine that knows the node only through a registry. It tells the node what the answer
    /// to a heartbeat would, and gets what a registration and a heartbeat would say.
    #[oai(path = "/v1/poll", method = "post")]
    async fn poll(
        &self,
        _token: NodeToken,
        request: &Request,
        /// The node that the request is for.
        #[oai(name = "hotswap-node")]
        node: Header<Option<String>>,
        /// The start of the node that the request is for, where the engine knows it.
        #[oai(name = "hotswap-boot")]
        boot: Header<Option<String>>,
        body: Json<PollRequest>,
    ) -> Result<Json<PollAnswer>, ErrorResponse> {
        let context = self.context()?;
        context.check_start(node.as_deref(), boot.as_deref())?;
        let PollRequest { engine_url, told } = body.0;
        if let Some(url) = engine_url {
            context.engine.told(&url);
        }
        if let Some(HeartbeatAnswer { desired, cordon }) = told {
            context.modules.tell_desired(desired, cordon);
        }
        let urls = context.addresses.urls_at(local_addr(request).ip());
        Ok(Json(PollAnswer {
            registration: context.reporter.registration(urls),
            heartbeat: context.reporter.heartbeat(),
        }))
    }

    /// Check that the process is running
    #[oai(path = "/health/live", method = "get")]
    async fn liveness(&self) -> PlainText<&'static str> {
        PlainText("live")
    }

    /// Check that the node runs what it should
    ///
    /// Ready means that clients may be sent to the node: the engine has told it since its start
    /// what to run, and it does. While a deployment changes the node, the version before and
    /// the new one are both right. A node that a person has drained is not ready; one that is
    /// cordoned is ready with any version. For load balancers, `/.hotswap/ready` on the data port
    /// answers the same.
    #[oai(path = "/health/ready", method = "get")]
    async fn readiness(&self) -> ReadinessResponse {
        let ready = match &self.context {
            Some(context) => context.modules.check_ready(),
            None => Ok(()),
        };
        match ready {
            Ok(()) => ReadinessResponse::Ready(PlainText("ready".to_owned())),
            Err(reason) => ReadinessResponse::NotReady(Json(problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "not-ready",
                "The node is not ready",
                reason,
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

/// The address of this machine at which a request arrived.
fn local_addr(request: &Request) -> SocketAddr {
    let local = request.local_addr().as_socket_addr().copied();
    local.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0))
}

fn parse_module_name(text: &str) -> Result<ModuleName, Problem> {
    text.parse()
        .map_err(|error: ParseError| bad_request(error.to_string()))
}

fn module_not_found(module: &ModuleName) -> Problem {
    problem(
        StatusCode::NOT_FOUND,
        "no-such-module",
        "No such module",
        format!("this node does not know the module {module}; stage a version of it first"),
    )
}
