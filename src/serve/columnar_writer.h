/// An answer as columns: an Arrow IPC stream, or a Parquet file.
///
/// Types are those of the answer's rows. The schema's metadata says in "millrace.as_of" what the header Millrace-As-Of
/// says, so that a file that was kept still tells of what moment it is.
#pragma once

#include "base/status.h"
#include "http/body.h"
#include "query/aggregate_query.h"
#include "serve/answer_writer.h"

namespace millrace::serve {

/// kTooLarge, kCancelled: as AnswerLimits say. kUnsupported: a type that Arrow's writer of the format does not take.
Result<http::Body> AnswerToArrow(const query::Answer& answer, const AnswerLimits& limits = {});
/// Compressed with zstd. Else as AnswerToArrow().
Result<http::Body> AnswerToParquet(const query::Answer& answer, const AnswerLimits& limits = {});

}  // namespace millrace::serve
