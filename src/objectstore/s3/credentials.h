/// Credentials by the usual AWS chain, kept until shortly before they expire.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/status.h"

namespace millrace::http {
class Client;
}  // namespace millrace::http

namespace millrace::objectstore::s3 {

/// Secrets: never part of a message or a log line.
struct Credentials {
  std::string access_key_id;
  std::string secret_access_key;
  std::string session_token;          ///< Empty: none.
  std::optional<UnixMicros> expires;  ///< nullopt: not by themselves.
};

/// An environment variable's value; nullopt if it is not set or empty. An argument, so that tests need no setenv().
using Environment = std::function<std::optional<std::string>(const std::string& name)>;
Environment ProcessEnvironment();

/// One key of a profile in the shared files: ~/.aws/credentials, then ~/.aws/config, or what
/// AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE name; the profile is that of AWS_PROFILE, or "default".
std::optional<std::string> ProfileValue(const Environment& environment, const std::string& key);

/// The first of these that is set up decides; if it then fails, that is the error, and no later one is asked:
///   1. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
///   2. AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN: a role by STS (EKS)
///   3. the profile: its aws_access_key_id, aws_secret_access_key, aws_session_token; or what its credential_process
///      prints; or a role by IAM Identity Center, with the token that `aws sso login` has left in ~/.aws/sso/cache
///      (sso_session, or sso_start_url and sso_region; sso_account_id, sso_role_name)
///   4. AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI (ECS, EKS Pod Identity)
///   5. the instance's role by IMDSv2, unless AWS_EC2_METADATA_DISABLED=true
/// Any thread.
class CredentialsChain {
 public:
  /// `region` names the STS endpoint, unless AWS_ENDPOINT_URL_STS does; AWS_ENDPOINT_URL_SSO is the portal's.
  CredentialsChain(Environment environment, std::string region, std::string ca_file,
                   const Clock& clock = SystemClock());
  ~CredentialsChain();

  /// From memory, unless they expire within five minutes. kInvalidInput: none are set up, or what is set up is wrong
  /// (the message says where they were looked for); kTransient: the service that hands them out did not answer.
  Result<Credentials> Get();

  /// The store refused `refused`: the next Get() asks again, unless that has happened since.
  void Forget(const Credentials& refused);

  /// As http::Client::Interrupt().
  void Interrupt();

 private:
  Result<Credentials> Load();
  Result<Credentials> FromWebIdentity(const std::string& token_file, const std::string& role);
  Result<Credentials> FromProfile(bool& found);
  Result<Credentials> FromProcess(const std::string& command);
  Result<Credentials> FromSso(const std::string& profile);
  Result<Credentials> FromContainer(const std::string& url);
  Result<Credentials> FromInstance();

  const Environment environment_;
  const std::string region_;
  const Clock& clock_;
  const std::unique_ptr<http::Client> http_;      // For STS: the CA file holds.
  const std::unique_ptr<http::Client> metadata_;  // For the machine's own services: short timeouts.
  std::mutex mutex_;
  std::optional<Credentials> cached_;
};

}  // namespace millrace::objectstore::s3
