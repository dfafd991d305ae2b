//! The document that describes the API: what Swagger UI shows, and what is committed.

use poem_openapi::{LicenseObject, OpenApiService, Tags};
use serde_json::{Value, json};

use crate::artifacts::Artifacts;
use crate::auth::Role;
use crate::clusters::Clusters;
use crate::deployments::Deployments;
use crate::events::Events;
use crate::health::Health;
use crate::modules::Modules;
use crate::nodes::Nodes;
use crate::pages::Pages;
use crate::strategies::Strategies;

const DESCRIPTION: &str = "\
HotSwap rolls new versions of modules out to fleets of nodes by a strategy that anyone can write.

Begin with `PUT /api/v1/modules/{name}/versions/{version}`, then `POST /api/v1/deployments`, then \
follow it with `GET /api/v1/deployments/{id}/events?wait=30`.

- Everything under `/api/v1` takes `Authorization: Bearer` and a token: the API token, a signed \
token (JWT) where the engine is configured for them, or, where it is said, the node token.
- A signed token has the role `viewer` (reads), `operator` (also uploads modules, begins and steers \
deployments) or `admin` (everything); the API token is an `admin`. Each operation says which it needs, for programs in `x-required-role`. Where the role is too low, the \
answer is 403; where the token has expired, 401 of the type `urn:hotswap:problem:token-expired`.
- `/health`, `/metrics` and this document are open to whoever can reach the port, which is this \
machine alone unless the engine is told otherwise.
- Times are milliseconds since the Unix epoch. What is absent is left out, never `null`.
- What fails is answered with `application/problem+json` (RFC 9457): `type` for programs, `detail` \
for people. There may be more fields and more types in later releases.
- Each answer has the header `x-request-id`; send one of your own to find it in the engine's log.";

/// What operations are about.
#[derive(Tags)]
pub(crate) enum Tag {
    /// Versions of modules that are rolled out to nodes.
    Deployments,
    /// What happens to deployments, to read and to follow.
    Events,
    /// What can be rolled out: WebAssembly components that answer HTTP requests.
    Modules,
    /// How it can be rolled out: WebAssembly components that decide the next step.
    Strategies,
    /// Environments: their nodes, and what no strategy may exceed there.
    Clusters,
    /// The machines that run modules, and what they themselves ask of the engine.
    Nodes,
    /// How the engine is.
    Health,
}

type Api = (
    Deployments,
    Events,
    Modules,
    Strategies,
    Clusters,
    Nodes,
    Artifacts,
    Health,
    Pages,
);

/// All operations.
pub(crate) fn service() -> OpenApiService<Api, ()> {
    let api = (
        Deployments,
        Events,
        Modules,
        Strategies,
        Clusters,
        Nodes,
        Artifacts,
        Health,
        Pages,
    );
    OpenApiService::new(api, "HotSwap", env!("CARGO_PKG_VERSION"))
        .summary("Rolls modules out to fleets of nodes")
        .description(DESCRIPTION)
        .license(LicenseObject::new("Apache-2.0").identifier("Apache-2.0"))
        .server("/")
}

/// The OpenAPI 3.0 document of the API, as JSON that is made to be read; the same for the
/// same release, byte by byte. Needs no engine.
pub fn openapi() -> String {
    let spec = service().spec();
    let spec = serde_json::from_str(&spec).and_then(|mut spec| {
        mend(&mut spec);
        serde_json::to_string_pretty(&spec)
    });
    // It was written by the same library a moment ago.
    let mut spec = spec.unwrap_or_default();
    spec.push('\n');
    spec
}

/// The page of Swagger UI, with the same document.
pub(crate) fn swagger() -> String {
    let service = service();
    // It holds the document as poem writes it.
    service
        .swagger_ui_html()
        .replace(&service.spec(), &openapi())
}

/// Takes out what poem writes and OpenAPI 3.0 does not know, and puts in the roles, which
/// poem does not know.
fn mend(spec: &mut Value) {
    roles(spec);
    if let Some(info) = spec["info"].as_object_mut() {
        info.remove("summary");
        if let Some(license) = info.get_mut("license").and_then(|it| it.as_object_mut()) {
            license.remove("identifier");
        }
    }
}

/// poem tells the roles as schemes, one for each. To whoever calls they are one: the same
/// header, with a token that may do more or less.
fn roles(spec: &mut Value) {
    const SCHEME: &str = "apiToken";
    let paths = spec["paths"].as_object_mut().into_iter().flatten();
    let operations = paths.filter_map(|(_, path)| path.as_object_mut());
    for (_, operation) in operations.flatten() {
        let scheme = operation["security"][0].as_object();
        let name = scheme.and_then(|scheme| scheme.keys().next());
        let Some(role) = name.and_then(|name| name.parse::<Role>().ok()) else {
            continue;
        };
        let said = operation["description"].as_str().unwrap_or_default();
        operation["description"] = format!("{said}\n\nNeeds the role `{role}`.").into();
        operation["security"] = json!([{ SCHEME: [] }]);
        operation["x-required-role"] = role.as_str().into();
    }
    if let Some(schemes) = spec["components"]["securitySchemes"].as_object_mut() {
        schemes.retain(|name, _| name.parse::<Role>().is_err());
        let scheme = json!({
            "description": "The API token, or a signed token (JWT): a person, or a program that works for one. What it may do is told by its role.",
            "scheme": "bearer",
            "type": "http",
        });
        schemes.insert(SCHEME.to_owned(), scheme);
    }
}
