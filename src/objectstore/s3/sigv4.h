/// AWS Signature Version 4 for one request, and the digests that S3 wants. Pure functions; any thread.
/// Spec: AWS documentation, "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)".
///
/// libcurl can sign too, but the version that Debian 12 has leaves query parameters unsorted and does not sign the
/// payload's digest, which S3 demands.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "objectstore/s3/credentials.h"

namespace millrace::objectstore::s3 {

using NameValues = std::vector<std::pair<std::string, std::string>>;

struct SigningInput {
  std::string_view method;  ///< "PUT"
  std::string_view path;    ///< Encoded, with its leading '/'.
  NameValues query;         ///< Not encoded, any order.
  NameValues headers;       ///< All of these are signed, `host` among them. Names in lower case.
  std::string_view payload_sha256;
  std::string_view region;
  std::string_view service = "s3";
  UnixMicros time = 0;  ///< The same as in the header x-amz-date.
};

/// The value of the header `Authorization`.
std::string Authorization(const SigningInput& input, const Credentials& credentials);

/// "20130524T000000Z"
std::string AmzDate(UnixMicros time);

/// Everything but A-Z a-z 0-9 - . _ ~ as %XX; '/' too unless `keep_slash`.
std::string UriEncode(std::string_view text, bool keep_slash);

/// "a=1&b=", encoded and sorted by name as the signature wants it.
std::string CanonicalQuery(const NameValues& query);

std::string Sha256Hex(std::string_view bytes);
/// As the header Content-MD5 wants it.
std::string Md5Base64(std::string_view bytes);

}  // namespace millrace::objectstore::s3
