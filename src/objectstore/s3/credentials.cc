#include "objectstore/s3/credentials.h"

#include <arrow/util/value_parsing.h>
#include <openssl/evp.h>
#include <simdjson.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/uuid.h"
#include "http/client.h"
#include "objectstore/s3/credential_process.h"
#include "objectstore/s3/sigv4.h"
#include "objectstore/s3/xml.h"

namespace millrace::objectstore::s3 {
namespace {

/// Fresh ones are asked for this long before the old ones end, so that none end on the way.
constexpr UnixMicros kRefreshBefore = 5 * 60 * 1'000'000LL;
constexpr int kAttemptsMax = 4;
constexpr std::chrono::seconds kProcessTimeout(60);

std::string Trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const auto first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return "";
  return std::string(text.substr(first, text.find_last_not_of(kSpace) - first + 1));
}

Result<std::string> ReadSmallFile(const std::string& path, std::string_view what) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return InvalidInput("cannot read {} {}", what, path);
  return Trimmed(std::string(std::istreambuf_iterator<char>(in), {}));
}

/// `key` in the section `[section]` of an INI file; nullopt if any of them is not there.
std::optional<std::string> IniValue(const std::string& path, std::string_view section, std::string_view key) {
  std::ifstream in(path);
  std::string line;
  bool inside = false;
  std::optional<std::string> value;
  while (std::getline(in, line)) {
    // Indented lines belong to the value before them (nested settings of other services).
    if (line.empty() || line[0] == ' ' || line[0] == '\t') continue;
    const std::string text = Trimmed(line);
    if (text.empty() || text[0] == '#' || text[0] == ';') continue;
    if (text.front() == '[' && text.back() == ']') {
      inside = Trimmed(std::string_view(text).substr(1, text.size() - 2)) == section;
    } else if (const auto equals = text.find('='); inside && equals != std::string::npos) {
      if (Trimmed(std::string_view(text).substr(0, equals)) == key) {
        value = Trimmed(std::string_view(text).substr(equals + 1));
      }
    }
  }
  return value;
}

std::string ProfileName(const Environment& environment) { return environment("AWS_PROFILE").value_or("default"); }

Result<UnixMicros> ParseExpiry(const std::string& text) {
  UnixMicros time = 0;
  bool has_zone = false;
  if (!arrow::internal::ParseTimestampISO8601(text.data(), text.size(), arrow::TimeUnit::MICRO, &time, &has_zone)) {
    return Transient("the credentials' expiration '{}' is not a time", text);
  }
  return time;
}

/// The AWS command line names the files of its token cache so.
std::string Sha1Hex(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  const int done = EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha1(), nullptr);
  MILLRACE_CHECK(done == 1, "SHA-1");
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

/// What ECS, IMDS and a credential_process answer; the token has another name with the last.
Result<Credentials> ParseCredentialsJson(const std::string& body, std::string_view from) {
  simdjson::dom::parser parser;
  simdjson::dom::object object;
  if (parser.parse(body).get(object) != simdjson::SUCCESS) return Transient("{} did not answer with JSON", from);
  const auto text = [&object](const char* name) {
    std::string_view value;
    return object[name].get(value) == simdjson::SUCCESS ? std::string(value) : std::string();
  };
  Credentials credentials{text("AccessKeyId"), text("SecretAccessKey"), text("Token") + text("SessionToken"), {}};
  if (credentials.access_key_id.empty() || credentials.secret_access_key.empty()) {
    return Transient("{} answered without AccessKeyId and SecretAccessKey (code '{}')", from, text("Code"));
  }
  if (const std::string expiration = text("Expiration"); !expiration.empty()) {
    ASSIGN_OR_RETURN(credentials.expires, ParseExpiry(expiration));
  }
  return credentials;
}

/// A few tries; the reply's body if its status is 200.
Result<std::string> Ask(http::Client& http, const http::ClientRequest& request, std::string_view from) {
  std::string why;
  for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
    if (attempt > 0) std::this_thread::sleep_for(std::chrono::milliseconds(50 << attempt));
    http::ClientReply reply;
    http::ClientError error;
    if (!http.Send(request, reply, error)) {
      if (error.failure == http::ClientFailure::kCancelled)
        return Cancelled("asking {} for credentials was cancelled", from);
      if (error.failure == http::ClientFailure::kUntrusted) return InvalidInput("{}: {}", from, error.message);
      why = error.message;
      continue;
    }
    if (reply.status == 200) return std::move(reply.body);
    why = fmt::format("HTTP status {}", reply.status);
    if (const auto xml = ParseXml(reply.body); xml.ok()) {
      if (const auto* detail = xml->Find("Error")) {
        why += fmt::format(", {}: {}", detail->TextOf("Code"), detail->TextOf("Message"));
      }
    }
    if (reply.status < 500 && reply.status != 429) return InvalidInput("{} gave no credentials: {}", from, why);
  }
  return Transient("{} gave no credentials: {}", from, why);
}

}  // namespace

Environment ProcessEnvironment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* const value = std::getenv(name.c_str());
    if (value == nullptr || *value == '\0') return std::nullopt;
    return value;
  };
}

std::optional<std::string> ProfileValue(const Environment& environment, const std::string& key) {
  const std::string home = environment("HOME").value_or("");
  const std::string profile = ProfileName(environment);
  const std::string credentials = environment("AWS_SHARED_CREDENTIALS_FILE").value_or(home + "/.aws/credentials");
  if (auto value = IniValue(credentials, profile, key)) return value;
  const std::string config = environment("AWS_CONFIG_FILE").value_or(home + "/.aws/config");
  return IniValue(config, profile == "default" ? profile : "profile " + profile, key);
}

CredentialsChain::CredentialsChain(Environment environment, std::string region, std::string ca_file, const Clock& clock)
    : environment_(std::move(environment)),
      region_(std::move(region)),
      clock_(clock),
      http_(std::make_unique<http::Client>(http::ClientOptions{.ca_file = std::move(ca_file)})),
      metadata_(std::make_unique<http::Client>(http::ClientOptions{
          .timeouts = {.connect = std::chrono::milliseconds(1000), .stall = std::chrono::seconds(3)}})) {}

CredentialsChain::~CredentialsChain() = default;

void CredentialsChain::Interrupt() {
  http_->Interrupt();
  metadata_->Interrupt();
}

Result<Credentials> CredentialsChain::Get() {
  const std::lock_guard lock(mutex_);
  const UnixMicros now = clock_.Now();
  if (cached_ && (!cached_->expires || *cached_->expires - kRefreshBefore > now)) return *cached_;
  auto loaded = Load();
  if (!loaded.ok() && cached_ && *cached_->expires > now) {
    spdlog::warn("s3 credentials not renewed, the old ones are still good error=\"{}\"", loaded.status().message());
    return *cached_;
  }
  if (loaded.ok()) cached_ = *loaded;
  return loaded;
}

void CredentialsChain::Forget(const Credentials& refused) {
  const std::lock_guard lock(mutex_);
  if (cached_ && cached_->access_key_id == refused.access_key_id && cached_->session_token == refused.session_token) {
    cached_.reset();
  }
}

Result<Credentials> CredentialsChain::Load() {
  if (const auto id = environment_("AWS_ACCESS_KEY_ID")) {
    const auto secret = environment_("AWS_SECRET_ACCESS_KEY");
    if (!secret) return InvalidInput("AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not");
    return Credentials{*id, *secret, environment_("AWS_SESSION_TOKEN").value_or(""), {}};
  }
  const auto token_file = environment_("AWS_WEB_IDENTITY_TOKEN_FILE");
  const auto role = environment_("AWS_ROLE_ARN");
  if (token_file && role) return FromWebIdentity(*token_file, *role);
  bool found = false;
  auto profile = FromProfile(found);
  if (found) return profile;
  if (const auto path = environment_("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")) {
    return FromContainer("http://169.254.170.2" + *path);
  }
  if (const auto url = environment_("AWS_CONTAINER_CREDENTIALS_FULL_URI")) return FromContainer(*url);
  if (environment_("AWS_EC2_METADATA_DISABLED").value_or("") != "true") {
    auto instance = FromInstance();
    if (instance.ok() || KindOf(instance.status()) == ErrorKind::kCancelled) return instance;
    return InvalidInput(
        "no credentials for S3: not in AWS_ACCESS_KEY_ID, AWS_WEB_IDENTITY_TOKEN_FILE, the profile '{}' of the shared "
        "files, or AWS_CONTAINER_CREDENTIALS_*; and {}",
        ProfileName(environment_), instance.status().message());
  }
  return InvalidInput(
      "no credentials for S3: not in AWS_ACCESS_KEY_ID, AWS_WEB_IDENTITY_TOKEN_FILE, the profile '{}' of the shared "
      "files, or AWS_CONTAINER_CREDENTIALS_*; the instance's metadata is switched off",
      ProfileName(environment_));
}

Result<Credentials> CredentialsChain::FromProfile(bool& found) {
  const auto id = ProfileValue(environment_, "aws_access_key_id");
  const std::string profile = ProfileName(environment_);
  found = true;
  if (!id) {
    if (const auto command = ProfileValue(environment_, "credential_process")) return FromProcess(*command);
    if (ProfileValue(environment_, "sso_session") || ProfileValue(environment_, "sso_start_url")) {
      return FromSso(profile);
    }
    if (ProfileValue(environment_, "source_profile")) {
      return InvalidInput(
          "the AWS profile '{}' gets its credentials by source_profile, which is not supported; 'aws configure "
          "export-credentials --profile {} --format env' prints variables that are",
          profile, profile);
    }
    found = environment_("AWS_PROFILE").has_value();
    return InvalidInput("the AWS profile '{}' has no aws_access_key_id in the shared files", profile);
  }
  const auto secret = ProfileValue(environment_, "aws_secret_access_key");
  if (!secret) return InvalidInput("the AWS profile '{}' has no aws_secret_access_key", profile);
  return Credentials{*id, *secret, ProfileValue(environment_, "aws_session_token").value_or(""), {}};
}

Result<Credentials> CredentialsChain::FromProcess(const std::string& command) {
  ASSIGN_OR_RETURN(const std::string output,
                   RunCredentialProcess(command, kProcessTimeout, [this] { return http_->interrupted(); }));
  auto credentials = ParseCredentialsJson(output, "the credential_process");
  // It is the user's own program: asking it again helps as little as asking a file.
  if (!credentials.ok()) return InvalidInput("{}", credentials.status().message());
  return credentials;
}

Result<Credentials> CredentialsChain::FromSso(const std::string& profile) {
  // Several profiles may share a session, which then has a section and a token of its own. Before there were sessions
  // the profile said it all, and the token is filed under the start URL.
  const auto session = ProfileValue(environment_, "sso_session");
  const std::string home = environment_("HOME").value_or("");
  const std::string config = environment_("AWS_CONFIG_FILE").value_or(home + "/.aws/config");
  const auto setting = [&](const char* key) -> Result<std::string> {
    auto value = session ? IniValue(config, "sso-session " + *session, key) : std::nullopt;
    if (!value) value = ProfileValue(environment_, key);
    if (!value) return InvalidInput("the AWS profile '{}' gets its credentials by SSO, but has no {}", profile, key);
    return *value;
  };
  ASSIGN_OR_RETURN(const std::string start_url, setting("sso_start_url"));
  ASSIGN_OR_RETURN(const std::string region, setting("sso_region"));
  ASSIGN_OR_RETURN(const std::string account, setting("sso_account_id"));
  ASSIGN_OR_RETURN(const std::string role, setting("sso_role_name"));

  const std::string path = home + "/.aws/sso/cache/" + Sha1Hex(session.value_or(start_url)) + ".json";
  const std::string hint = fmt::format("'aws sso login --profile {}' makes a new one", profile);
  const auto cached = ReadSmallFile(path, "the SSO token");
  if (!cached.ok()) return InvalidInput("{}; {}", cached.status().message(), hint);
  simdjson::dom::parser parser;
  simdjson::dom::object token;
  std::string_view access_token;
  std::string_view expires_text;
  if (parser.parse(*cached).get(token) != simdjson::SUCCESS ||
      token["accessToken"].get(access_token) != simdjson::SUCCESS ||
      token["expiresAt"].get(expires_text) != simdjson::SUCCESS) {
    return InvalidInput("the SSO token in {} is not one; {}", path, hint);
  }
  // Old versions of the AWS command line write "UTC" for Z.
  std::string expires(expires_text);
  if (expires.ends_with("UTC")) expires.replace(expires.size() - 3, 3, "Z");
  ASSIGN_OR_RETURN(const UnixMicros token_ends, ParseExpiry(expires));
  if (token_ends <= clock_.Now()) return InvalidInput("the SSO token in {} ended at {}; {}", path, expires, hint);

  const std::string endpoint =
      environment_("AWS_ENDPOINT_URL_SSO").value_or(fmt::format("https://portal.sso.{}.amazonaws.com", region));
  const std::string from = fmt::format("SSO at {} for role {} of account {}", endpoint, role, account);
  const http::ClientRequest request{
      "GET",
      endpoint + "/federation/credentials?" + CanonicalQuery({{"account_id", account}, {"role_name", role}}),
      {{"x-amz-sso_bearer_token", std::string(access_token)}},
      {}};
  const auto reply = Ask(*http_, request, from);
  if (!reply.ok() && KindOf(reply.status()) == ErrorKind::kInvalidInput) {
    return InvalidInput("{}; if the token is at fault, {}", reply.status().message(), hint);
  }
  RETURN_NOT_OK(reply.status());
  simdjson::dom::object found;
  std::string_view id;
  std::string_view secret;
  std::string_view session_token;
  std::int64_t expires_ms = 0;
  simdjson::dom::parser reply_parser;
  if (reply_parser.parse(*reply)["roleCredentials"].get(found) != simdjson::SUCCESS ||
      found["accessKeyId"].get(id) != simdjson::SUCCESS || found["secretAccessKey"].get(secret) != simdjson::SUCCESS ||
      found["sessionToken"].get(session_token) != simdjson::SUCCESS ||
      found["expiration"].get(expires_ms) != simdjson::SUCCESS) {
    return Transient("{} answered without credentials", from);
  }
  return Credentials{std::string(id), std::string(secret), std::string(session_token), expires_ms * 1000};
}

Result<Credentials> CredentialsChain::FromWebIdentity(const std::string& token_file, const std::string& role) {
  ASSIGN_OR_RETURN(const std::string token, ReadSmallFile(token_file, "the web identity token"));
  const std::string endpoint =
      environment_("AWS_ENDPOINT_URL_STS").value_or(fmt::format("https://sts.{}.amazonaws.com", region_));
  const std::string session = environment_("AWS_ROLE_SESSION_NAME").value_or("millrace-" + RandomUuid().substr(0, 8));
  // In the body, not in the URL: the token is a secret, and URLs end up in logs.
  const std::string body = CanonicalQuery({{"Action", "AssumeRoleWithWebIdentity"},
                                           {"Version", "2011-06-15"},
                                           {"RoleArn", role},
                                           {"RoleSessionName", session},
                                           {"WebIdentityToken", token}});
  http::ClientRequest request{"POST", endpoint + "/", {{"Content-Type", "application/x-www-form-urlencoded"}}, body};
  const std::string from = fmt::format("STS at {} for role {}", endpoint, role);
  ASSIGN_OR_RETURN(const std::string reply, Ask(*http_, request, from));
  ASSIGN_OR_RETURN(const XmlElement document, ParseXml(reply));
  const XmlElement* const result = document.Find("AssumeRoleWithWebIdentityResult");
  const XmlElement* const found = result == nullptr ? nullptr : result->Find("Credentials");
  if (found == nullptr) return Transient("{} answered without credentials", from);
  Credentials credentials{
      found->TextOf("AccessKeyId"), found->TextOf("SecretAccessKey"), found->TextOf("SessionToken"), {}};
  ASSIGN_OR_RETURN(credentials.expires, ParseExpiry(found->TextOf("Expiration")));
  return credentials;
}

Result<Credentials> CredentialsChain::FromContainer(const std::string& url) {
  http::ClientRequest request{"GET", url, {}, {}};
  if (const auto file = environment_("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")) {
    ASSIGN_OR_RETURN(std::string token, ReadSmallFile(*file, "the container's authorization token"));
    request.headers.emplace_back("Authorization", std::move(token));
  } else if (const auto token = environment_("AWS_CONTAINER_AUTHORIZATION_TOKEN")) {
    request.headers.emplace_back("Authorization", *token);
  }
  const std::string from = "the container's credentials service at " + url;
  ASSIGN_OR_RETURN(const std::string body, Ask(*metadata_, request, from));
  return ParseCredentialsJson(body, from);
}

Result<Credentials> CredentialsChain::FromInstance() {
  const std::string endpoint = environment_("AWS_EC2_METADATA_SERVICE_ENDPOINT").value_or("http://169.254.169.254");
  const std::string from = "the instance's metadata at " + endpoint;
  ASSIGN_OR_RETURN(
      const std::string token,
      Ask(*metadata_, {"PUT", endpoint + "/latest/api/token", {{"X-aws-ec2-metadata-token-ttl-seconds", "300"}}, {}},
          from));
  const std::vector<std::pair<std::string, std::string>> headers = {{"X-aws-ec2-metadata-token", token}};
  const std::string path = endpoint + "/latest/meta-data/iam/security-credentials/";
  ASSIGN_OR_RETURN(const std::string roles, Ask(*metadata_, {"GET", path, headers, {}}, from));
  const std::string role = Trimmed(std::string_view(roles).substr(0, roles.find('\n')));
  if (role.empty()) return InvalidInput("{}: the instance has no role", from);
  ASSIGN_OR_RETURN(const std::string body, Ask(*metadata_, {"GET", path + role, headers, {}}, from));
  return ParseCredentialsJson(body, from);
}

}  // namespace millrace::objectstore::s3
