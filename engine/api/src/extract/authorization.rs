//! Extractors that say who may call an operation. In the OpenAPI document the three roles
//! become one scheme, because all use the same header; see `openapi`.

use hotswap_common::tls::ClientCertificate;
use poem::Request;
use poem::web::headers::{Authorization, HeaderMapExt, authorization};
use poem_openapi::SecurityScheme;
use poem_openapi::auth::Bearer;

use crate::auth::{Identity, Rejection, Role};
use crate::context::Context;
use crate::problem::{Kind, Problem};

/// A client that may read.
#[derive(SecurityScheme)]
#[oai(rename = "viewer", ty = "bearer", checker = "check_viewer")]
pub(crate) struct Viewer(pub Identity);

/// A client that may create and control deployments.
#[derive(SecurityScheme)]
#[oai(rename = "operator", ty = "bearer", checker = "check_operator")]
pub(crate) struct Operator(pub Identity);

/// A client that may do everything but what only nodes do.
#[derive(SecurityScheme)]
#[oai(rename = "admin", ty = "bearer", checker = "check_admin")]
pub(crate) struct Admin(pub Identity);

/// The node token: a machine that runs `hotswap node`.
#[derive(SecurityScheme)]
#[oai(rename = "nodeToken", ty = "bearer", checker = "check_node_token")]
pub(crate) struct NodeToken(());

/// The identity of a client, for requests that no operation of the OpenAPI document
/// answers.
///
/// # Errors
/// A 401 where the token is missing or invalid; a 403 for the node token.
pub(crate) fn identify(request: &Request) -> Result<Identity, Problem> {
    let header = request
        .headers()
        .typed_get::<Authorization<authorization::Bearer>>();
    let header = header.ok_or_else(Problem::no_token)?;
    Ok(Context::of(request)?.authenticate(header.token())?)
}

async fn check_viewer(request: &Request, bearer: Bearer) -> poem::Result<Identity> {
    check_role(request, &bearer, Role::Viewer)
}

async fn check_operator(request: &Request, bearer: Bearer) -> poem::Result<Identity> {
    check_role(request, &bearer, Role::Operator)
}

async fn check_admin(request: &Request, bearer: Bearer) -> poem::Result<Identity> {
    check_role(request, &bearer, Role::Admin)
}

fn check_role(request: &Request, bearer: &Bearer, needed: Role) -> poem::Result<Identity> {
    let identity = Context::of(request)?.authenticate(&bearer.token);
    let identity = identity.map_err(Problem::from)?;
    identity.require(needed)?;
    Ok(identity)
}

async fn check_node_token(request: &Request, bearer: Bearer) -> poem::Result<()> {
    let context = Context::of(request)?;
    let certificate = request.extensions().get::<ClientCertificate>();
    match context.authenticate(&bearer.token) {
        Err(Rejection::NodeToken) if context.wants_node_certificates && certificate.is_none() => {
            let detail = "this engine wants a client certificate of its nodes, of an authority of \
                          its tls.clientCa: start the node with --client-cert and --client-key";
            Err(Problem::new(Kind::Forbidden, detail).into())
        }
        Err(Rejection::NodeToken) => Ok(()),
        Ok(_) => {
            let detail = "only nodes may call this operation; use the node token";
            Err(Problem::new(Kind::Forbidden, detail).into())
        }
        Err(rejection) => Err(Problem::from(rejection).into()),
    }
}
