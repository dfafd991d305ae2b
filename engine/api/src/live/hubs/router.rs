use poem::{Endpoint, PathPattern, Request, Response};

use super::Hubs;

/// Routes requests on the paths of the hubs to the hubs, and all others to the REST API.
pub(crate) struct HubRouter<E> {
    api: E,
    hubs: Hubs,
}

impl<E> HubRouter<E> {
    pub fn new(api: E, hubs: Hubs) -> Self {
        Self { api, hubs }
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for HubRouter<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let pattern = PathPattern(request.uri().path().into());
        match self.hubs.call(request).await {
            Err(request) => self.api.call(request).await,
            Ok(Ok(mut response)) => {
                response.set_data(pattern);
                Ok(response)
            }
            Ok(Err(problem)) => {
                let mut error = poem::Error::from(problem);
                error.set_data(pattern);
                Err(error)
            }
        }
    }
}
