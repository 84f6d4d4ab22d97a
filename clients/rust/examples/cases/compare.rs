//! Answers compared with what a case expects.

use std::collections::HashMap;
use std::fmt::Debug;

use semserve::{
    Classifications, Embeddings, Error, Hit, ModelInfo, Scored, ServerInfo, SparseEmbeddings, TokenizeResult,
};
use serde_json::{Value, json};

use crate::given::{list, text};
use crate::{Failure, Outcome};

/// Numbers are the same if they differ by at most this.
pub struct Same(pub f64);

/// Two values are equal, as JSON.
pub fn equal<T: Debug + serde::Serialize>(name: &str, expected: &Value, found: &T) -> Outcome {
    if *expected == json!(found) {
        return Ok(());
    }
    Err(format!("{name}: expected {expected}, found {found:?}").into())
}

/// An error has the code, and the fields and the delay where they are expected.
pub fn error_is_as_expected(expected: &Value, error: &Error) -> Outcome {
    // The library writes PermissionDenied, the table PERMISSION_DENIED.
    let code = text(&expected["code"]).replace('_', "");
    if !format!("{:?}", error.code()).eq_ignore_ascii_case(&code) {
        return Err(format!("expected {expected}, found {error:?}").into());
    }
    if let Some(fields) = expected.get("fields") {
        let found: Vec<&str> = error.violations().iter().map(|one| one.field.as_str()).collect();
        equal("fields", fields, &found)?;
    }
    if let [least, most] = list(&expected["retry_after_s"]) {
        let found = error.retry_after().map(|wait| wait.as_secs_f64());
        let (least, most) = (least.as_f64(), most.as_f64());
        if found.is_none() || found < least || found > most {
            return Err(format!("retry after {found:?} s, not {least:?} to {most:?} s").into());
        }
    }
    Ok(())
}

/// Models have the fields that are expected.
pub fn models(expected: &Value, found: &[ModelInfo]) -> Outcome {
    equal("models", &json!(list(expected).len()), &found.len())?;
    for (expected, model) in list(expected).iter().zip(found) {
        let sides: Vec<String> = model.sides().map(|side| end(side.as_str_name(), "SIDE_")).collect();
        let all = json!({
            "name": model.name, "task": end(model.task().as_str_name(), "TASK_"),
            "dimensions": model.dimensions, "labels": model.labels,
            "max_sequence_length": model.max_sequence_length, "takes_pairs": model.takes_pairs,
            "state": end(model.state().as_str_name(), "MODEL_STATE_"), "sides": sides,
            "scores": end(model.scores().as_str_name(), "SCORE_FUNCTION_"),
            "prompts": model.prompts, "default_prompt": model.default_prompt,
        });
        for (field, value) in expected.as_object().into_iter().flatten() {
            equal(field, value, &all[field])?;
        }
    }
    Ok(())
}

/// The name of a value of an enum of the schema, in lower case and without what all its values begin with.
fn end(name: &str, start: &str) -> String {
    name.trim_start_matches(start).to_lowercase()
}

/// The server has the limits that are expected, and the default models.
pub fn server(expect: &Value, found: &ServerInfo) -> Outcome {
    let limits = found.limits.unwrap_or_default();
    let all = json!({
        "max_request_texts": limits.max_request_texts, "max_text_bytes": limits.max_text_bytes,
        "max_request_scores": limits.max_request_scores, "max_message_bytes": limits.max_message_bytes,
    });
    for (name, value) in expect["limits"].as_object().into_iter().flatten() {
        equal(name, value, &all[name])?;
    }
    let models = found.default_models.iter();
    let models: HashMap<String, &str> =
        models.map(|one| (end(one.task().as_str_name(), "TASK_"), one.model.as_str())).collect();
    equal("default_models", &expect["default_models"], &models)?;
    equal("default_top_k", &expect["default_top_k"], &found.default_top_k)?;
    equal("allow_model_control", &expect["allow_model_control"], &found.allow_model_control)
}

pub fn tokens(expected: &Value, found: &[TokenizeResult]) -> Outcome {
    equal("results", &json!(list(expected).len()), &found.len())?;
    for (expected, one) in list(expected).iter().zip(found) {
        equal("tokens", &expected["tokens"], &one.tokens)?;
        equal("ids", &expected["ids"], &one.ids)?;
        equal("starts", &expected["starts"], &one.starts)?;
        equal("ends", &expected["ends"], &one.ends)?;
        equal("truncated_tokens", &expected["truncated_tokens"], &one.truncated_tokens)?;
    }
    Ok(())
}

/// What an answer with scores tells about all its texts.
pub fn totals<T>(expect: &Value, found: &Scored<T>) -> Outcome {
    let all = json!({
        "model": found.model,
        "usage_token_count": found.usage.token_count,
        "all_truncated_tokens": found.truncated_tokens,
    });
    let all = all.as_object().into_iter().flatten();
    all.filter(|(name, _)| expect.get(name).is_some())
        .try_for_each(|(name, found)| equal(name, &expect[name], found))
}

impl Same {
    pub fn numbers(&self, name: &str, expected: &Value, found: &[f32]) -> Outcome {
        let close = |(expected, found): (&Value, &f32)| {
            let difference = expected.as_f64().unwrap_or(f64::NAN) - f64::from(*found);
            difference.abs() <= self.0
        };
        let expected = list(expected);
        if expected.len() == found.len() && expected.iter().zip(found).all(close) {
            return Ok(());
        }
        Err(format!("{name}: expected {expected:?}, found {found:?}").into())
    }

    pub fn each<T>(
        &self,
        name: &str,
        expected: &Value,
        found: &[T],
        same: impl Fn(&Value, &T) -> Outcome,
    ) -> Outcome {
        equal(name, &json!(list(expected).len()), &found.len())?;
        list(expected).iter().zip(found).try_for_each(|(expected, found)| same(expected, found))
    }

    pub fn hits(&self, expected: &Value, found: &[Hit]) -> Outcome {
        self.each("hits", expected, found, |expected, hit| {
            equal("index", &expected[0], &hit.index)?;
            self.numbers("score", &json!([expected[1]]), &[hit.score])
        })
    }

    pub fn matrix(&self, expect: &Value, found: &[Vec<f32>]) -> Outcome {
        let all = expect.get("each_score").map(|score| {
            let count = expect["count"].as_u64().unwrap_or(0) as usize;
            json!(vec![vec![score; count]; count])
        });
        let expected = all.as_ref().unwrap_or(&expect["rows"]);
        self.each("rows", expected, found, |expected, row| self.numbers("row", expected, row))
    }

    pub fn sparse(&self, expect: &Value, found: &SparseEmbeddings) -> Outcome {
        expect.get("model").map_or(Ok(()), |expected| equal("model", expected, &found.model))?;
        self.each("results", &expect["results"], &found.results, |expected, result| match &result.vector {
            Ok(vector) => {
                equal("indices", &expected["indices"], &vector.indices)?;
                let tokens = expected.get("tokens").cloned().unwrap_or(json!([]));
                equal("tokens", &tokens, &vector.tokens)?;
                self.numbers("values", &expected["values"], &vector.values)
            }
            Err(_) => equal("vector", expected, &Value::Null),
        })?;
        errors(expect, found.results.iter().map(|result| result.vector.as_ref().err()))
    }

    pub fn scores(&self, expect: &Value, found: &Scored<Vec<Result<f32, Error>>>) -> Outcome {
        expect.get("model").map_or(Ok(()), |expected| equal("model", expected, &found.model))?;
        self.each("scores", &expect["scores"], &found.scores, |expected, score| match score {
            Ok(score) => self.numbers("score", &json!([expected]), &[*score]),
            Err(_) => equal("score", expected, &Value::Null),
        })?;
        errors(expect, found.scores.iter().map(|score| score.as_ref().err()))
    }

    pub fn embeddings(&self, expect: &Value, found: &Embeddings) -> Outcome {
        let results = &found.results;
        let each = expect
            .get("each")
            .map(|vector| json!(vec![vector; expect["count"].as_u64().unwrap_or(0) as usize]));
        if let Some(vectors) = each.as_ref().or(expect.get("vectors")) {
            self.each("vectors", vectors, results, |expected, result| match &result.vector {
                Ok(vector) => self.numbers("vector", expected, vector),
                Err(_) => equal("vector", expected, &Value::Null),
            })?;
        }
        let counts: Vec<i32> = results.iter().map(|result| result.token_count).collect();
        let truncated: Vec<i32> = results.iter().map(|result| result.truncated_tokens).collect();
        for (name, found) in [
            ("model", json!(found.model)),
            ("token_counts", json!(counts)),
            ("truncated_tokens", json!(truncated)),
            ("usage_token_count", json!(found.usage.token_count)),
        ] {
            expect.get(name).map_or(Ok(()), |expected| equal(name, expected, &found))?;
        }
        errors(expect, results.iter().map(|result| result.vector.as_ref().err()))
    }

    pub fn classifications(&self, expect: &Value, found: &Classifications) -> Outcome {
        let expected_model = expect.get("model");
        expected_model.map_or(Ok(()), |expected| equal("model", expected, &found.model))?;
        for (place, result) in found.results.iter().enumerate() {
            let Ok(made) = result else { continue };
            if let Some(labels) = expect.get("labels") {
                equal("label", &labels[place], &made.label)?;
            }
            if let Some(classes) = expect.get("classes") {
                let found: Vec<&str> = made.scores.iter().map(|one| one.label.as_str()).collect();
                equal("classes", classes, &found)?;
            }
            let scores: Vec<f32> = made.scores.iter().map(|one| one.score).collect();
            for (name, found) in [("scores", &scores), ("logits", &made.logits)] {
                let expected = expect.get(name).map(|rows| &rows[place]);
                expected.map_or(Ok(()), |expected| self.numbers(name, expected, found))?;
            }
        }
        if let Some(scores) = expect.get("scores") {
            equal("results", &json!(list(scores).len()), &found.results.len())?;
        }
        errors(expect, found.results.iter().map(|result| result.as_ref().err()))
    }

    /// The answer of a generated request, whose id is its number, has the vector of its text.
    pub fn generated(&self, vectors: &Value, id: &str, found: Embeddings) -> Outcome {
        let number: usize = id.parse()?;
        let expected = &vectors[number % list(vectors).len()];
        let found = found.into_vectors()?;
        equal("vectors", &json!(1), &found.len())?;
        self.numbers("vector", expected, &found[0])
    }
}

/// The texts or pairs that are expected to have errors have them, and no others.
fn errors<'a>(expect: &Value, found: impl Iterator<Item = Option<&'a Error>>) -> Outcome {
    for (place, error) in found.enumerate() {
        match (expect["errors"].get(place.to_string()), error) {
            (Some(expected), Some(error)) => error_is_as_expected(expected, error)?,
            (None, None) => {}
            (expected, found) => {
                return Err(Failure::from(format!("{place}: expected {expected:?}, found {found:?}")));
            }
        }
    }
    Ok(())
}
