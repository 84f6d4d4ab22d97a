//! Embeds two sentences, classifies a pair, and streams ten requests of which one is bad.
//!
//!     cargo run --example sample [HOST:PORT]
//!
//! The last line is `Rust ok DIMENSIONS COSINE LABEL`.

use semserve::{Client, ClientTlsConfig, Error, Request, cosine};

const QUESTION: &str = "A cat is sitting on a mat.";
const SENTENCES: [&str; 10] = [
    "The cat sits on the mat.",
    "A kitten rests on the rug.",
    "The dog sleeps in the garden.",
    "She bought two loaves of bread.",
    "The bakery opens at seven.",
    "Trains to the coast leave every hour.",
    "", // the one that the server refuses
    "We took the night train to the sea.",
    "It rained for three days.",
    "The sun has not shone since Monday.",
];

#[tokio::main]
async fn main() {
    if let Err(error) = run().await {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let client = connect()?;
    let vectors = client.embed([QUESTION, SENTENCES[0]]).await?.into_vectors()?;
    let similarity = cosine(&vectors[0], &vectors[1]);

    let classified = client.classify([("It is raining", "It is sunny")]).await?;
    let label = classified.results.into_iter().next().ok_or("no pair was classified")??.label;

    stream(&client).await?;
    println!("Rust ok {} {similarity:.4} {label}", vectors[0].len());
    Ok(())
}

/// Connects to the address of the command line or of `SEMSERVE_ADDRESS`, with the key of `SEMSERVE_KEY`
/// and, where `SEMSERVE_TLS_CA` names a certificate, over TLS.
fn connect() -> Result<Client, Box<dyn std::error::Error>> {
    let set = |name| std::env::var(name).ok();
    let address = std::env::args().nth(1).or_else(|| set("SEMSERVE_ADDRESS"));
    let mut builder = Client::builder([address.unwrap_or_else(|| "127.0.0.1:50051".into())])
        .key(set("SEMSERVE_KEY").unwrap_or_default());
    if let Some(authority) = set("SEMSERVE_TLS_CA") {
        let certificate = semserve::Certificate::from_pem(std::fs::read(authority)?);
        builder = builder.tls(ClientTlsConfig::new().ca_certificate(certificate));
    }
    Ok(builder.build()?)
}

/// Embeds each sentence together with the question and shows their cosine, each as soon as it is ready.
async fn stream(client: &Client) -> Result<(), Error> {
    let requests = SENTENCES.map(|sentence| Request::new(sentence, [QUESTION, sentence]));
    let mut answers = client.stream_embed(tokio_stream::iter(requests)).start();
    while let Some(answer) = answers.next().await {
        let answer = answer?; // the stream itself broke
        match answer.result.and_then(|embeddings| embeddings.into_vectors()) {
            Ok(vectors) => println!("{:.4}  {}", cosine(&vectors[0], &vectors[1]), answer.id),
            Err(error) => println!("refused {:?}: {}", answer.id, error.message()),
        }
    }
    Ok(())
}
