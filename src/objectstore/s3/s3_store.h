/// A bucket, or a prefix in it, as a store. Put-if-absent is a conditional PUT (If-None-Match: *); no second service.
#pragma once

#include <memory>
#include <string>

#include "http/client.h"
#include "objectstore/object_store.h"
#include "objectstore/s3/credentials.h"
#include "objectstore/s3/s3_client.h"

namespace millrace::objectstore::s3 {

/// What tests change.
struct S3Options {
  http::ClientTimeouts timeouts;
  S3RetryPolicy retry;
  Environment environment = ProcessEnvironment();
  const Clock* clock = &SystemClock();
};

/// kCreate: proves by two PUTs of a small object, deleted again, that the store refuses the second; if it does not,
/// that is kUnsupported with what it did. Such objects that killed processes left more than a day ago are deleted, too.
/// kRefuse: kNotFound unless some key begins with the prefix. Otherwise as objectstore::OpenStore().
Result<std::shared_ptr<ObjectStore>> OpenS3Store(const std::string& bucket, const std::string& prefix,
                                                 IfMissing if_missing, const S3Settings& settings,
                                                 const S3Options& options = {});

}  // namespace millrace::objectstore::s3
