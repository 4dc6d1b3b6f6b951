//! Where Prometheus asks for the metrics: HTTP/1.1, one path.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header::CONTENT_TYPE, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::Metrics;

/// The media type of Prometheus' text form.
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How long nobody is let in after somebody could not be.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Answers `GET /metrics` at `address` until the process ends; an error when nobody may listen there.
///
/// A connection that breaks concerns nobody else: whoever scrapes asks again.
#[expect(clippy::disallowed_methods, reason = "this is the real runtime")]
pub(super) async fn serve(metrics: Arc<Metrics>, address: &str) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Without descriptors it fails again at once, and the node needs its thread.
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            };
            let metrics = Arc::clone(&metrics);
            tokio::spawn(async move {
                let answer = service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(&metrics, &request))));
                if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await {
                    tracing::debug!(%error, "a scrape broke off");
                }
            });
        }
    });
    Ok(())
}

fn answer(metrics: &Metrics, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => (StatusCode::OK, metrics.render()),
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "the metrics are at /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let kind = if status == StatusCode::OK { TEXT } else { "text/plain; charset=utf-8" };
    response.headers_mut().insert(CONTENT_TYPE, kind.parse().expect("a media type is a header's value"));
    response
}
