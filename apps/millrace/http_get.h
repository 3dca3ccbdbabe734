/// One request over HTTP, for verbs that ask a running pipeline or a provider's public price file.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"

namespace millrace::app {

/// Their names, and where their values go.
using WantedHeaders = std::vector<std::pair<const char*, std::string*>>;

/// The body of a 200. `token`: sent as a bearer token unless empty. At most `bytes_max` are taken.
/// Errors: kTransient (nobody answers, a 5xx, or the answer is too long or too late), kInvalidInput (another status);
/// the message has the problem document's detail where there is one.
/// https:// trusts the system's authorities, or those of the PEM file that the variable CURL_CA_BUNDLE names.
/// `headers`: also these of the reply, into the texts beside them, which are left alone if the reply has none.
Result<std::string> HttpGet(const std::string& url, const std::string& token, std::int64_t bytes_max = 64 << 20,
                            const WantedHeaders& headers = {});

/// The same for a POST of JSON.
Result<std::string> HttpPost(const std::string& url, const std::string& token, const std::string& body,
                             std::int64_t bytes_max = 64 << 20);

}  // namespace millrace::app
