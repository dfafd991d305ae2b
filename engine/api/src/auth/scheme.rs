//! The extractors that an operation takes to say whom it is for. In the document the
//! three roles become one scheme, for there is one header; see `openapi`.

use poem::Request;
use poem_openapi::SecurityScheme;
use poem_openapi::auth::Bearer;

use super::{Identity, Refusal, Role, context};
use crate::problem::{Kind, Problem};

/// Somebody who may read.
#[derive(SecurityScheme)]
#[oai(rename = "viewer", ty = "bearer", checker = "check_viewer")]
pub(crate) struct Viewer(pub Identity);

/// Somebody who may begin and steer deployments.
#[derive(SecurityScheme)]
#[oai(rename = "operator", ty = "bearer", checker = "check_operator")]
pub(crate) struct Operator(pub Identity);

/// Somebody who may do everything.
#[derive(SecurityScheme)]
#[oai(rename = "admin", ty = "bearer", checker = "check_admin")]
pub(crate) struct Admin(pub Identity);

/// Who shows the node token.
pub(crate) struct Machine;

/// The node token: a machine that runs `hotswap node`.
#[derive(SecurityScheme)]
#[oai(rename = "nodeToken", ty = "bearer", checker = "check_node")]
pub(crate) struct Node(Machine);

async fn check_viewer(request: &Request, shown: Bearer) -> poem::Result<Identity> {
    check(request, &shown, Role::Viewer)
}

async fn check_operator(request: &Request, shown: Bearer) -> poem::Result<Identity> {
    check(request, &shown, Role::Operator)
}

async fn check_admin(request: &Request, shown: Bearer) -> poem::Result<Identity> {
    check(request, &shown, Role::Admin)
}

fn check(request: &Request, shown: &Bearer, needed: Role) -> poem::Result<Identity> {
    let identity = context(request)?.authenticate(&shown.token);
    let identity = identity.map_err(Problem::from)?;
    identity.must_be(needed)?;
    Ok(identity)
}

async fn check_node(request: &Request, shown: Bearer) -> poem::Result<Machine> {
    match context(request)?.authenticate(&shown.token) {
        Err(Refusal::Node) => Ok(Machine),
        Ok(_) => {
            let detail = "this is for nodes alone; show the node token";
            Err(Problem::new(Kind::Forbidden, detail).into())
        }
        Err(refusal) => Err(Problem::from(refusal).into()),
    }
}
