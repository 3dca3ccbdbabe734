// What a registry's answers come to, those that a sound one never gives included. tests/registry asks a real one.
#include "registry/registry_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>

#include "ingest/decode_spec.h"
#include "testing/status_matchers.h"
#include "testing/stub_http_server.h"

namespace millrace::registry {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::StubHttpServer;
using testing::StubReply;
using testing::StubRequest;

class RegistryClientTest : public ::testing::Test {
 protected:
  // By target; all others are not there.
  std::map<std::string, StubReply> replies_;
  StubHttpServer server_{[this](const StubRequest& request) {
    const auto found = replies_.find(request.target);
    return found != replies_.end() ? found->second : StubReply{404, R"({"error_code":40403,"message":"no such"})"};
  }};
  RegistryClient client_{{.urls = {server_.url() + "/api"}}};
};

TEST_F(RegistryClientTest, ASchemaHasWhatItRefersToBeforeIt) {
  replies_["/api/schemas/ids/7"].body =
      R"({"schema":"root","schemaType":"PROTOBUF","references":[
          {"name":"a.proto","subject":"a/b c","version":2},{"name":"b.proto","subject":"b","version":1}]})";
  replies_["/api/subjects/a%2Fb%20c/versions/2"].body =
      R"({"schema":"a","references":[{"name":"b.proto","subject":"b","version":1}]})";
  // A circle ends too.
  replies_["/api/subjects/b/versions/1"].body =
      R"({"schema":"b","references":[{"name":"a.proto","subject":"a/b c","version":2}]})";
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto schema, client_.SchemaOfId(7));
  EXPECT_EQ(schema.language, ingest::SchemaLanguage::kProtobuf);
  EXPECT_EQ(schema.text, "root");
  ASSERT_EQ(schema.references.size(), 2u);
  EXPECT_EQ(schema.references[0].name + schema.references[0].text, "b.protob");
  EXPECT_EQ(schema.references[1].name + schema.references[1].text, "a.protoa");
}

TEST_F(RegistryClientTest, OnlyARegistryAnswersToAPing) {
  EXPECT_THAT(client_.Ping().message(), HasSubstr("no such"));
  replies_["/api/schemas/types"] = {401, R"({"error_code":40101,"message":"Unauthorized"})"};
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, client_.Ping());
  EXPECT_THAT(client_.Ping().message(), HasSubstr("it answered 401: Unauthorized"));
  replies_["/api/schemas/types"] = {200, "<html>sign in</html>"};
  EXPECT_THAT(client_.Ping().message(), HasSubstr("not as a schema registry"));
  replies_["/api/schemas/types"] = {200, R"(["AVRO","JSON"])"};
  MILLRACE_ASSERT_OK(client_.Ping());
}

TEST_F(RegistryClientTest, TheLatestVersionIsNamed) {
  replies_["/api/subjects/clicks-value/versions/latest"].body =
      R"({"subject":"clicks-value","version":3,"id":12,"schema":"{}"})";
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto latest, client_.Latest("clicks-value"));
  EXPECT_EQ(latest.version, 3);
  EXPECT_EQ(latest.id, 12u);
  EXPECT_EQ(latest.schema.language, ingest::SchemaLanguage::kAvro) << "a type that is left out";
}

TEST_F(RegistryClientTest, OnlyTheRegistryItselfSaysThatThereIsNone) {
  struct Case {
    const char* name;
    StubReply reply;
    ErrorKind kind;
    const char* message;
  };
  const Case cases[] = {
      {"unknown id",
       {404, R"({"error_code":40403,"message":"Schema 7 not found"})"},
       ErrorKind::kNotFound,
       "/api has no schema id 7: Schema 7 not found"},
      {"a proxy's page",
       {404, "<html>nothing here</html>"},
       ErrorKind::kTransient,
       "schema id 7 cannot be had from the schema registry "},
      {"another service", {404, R"({"error":"not found"})"}, ErrorKind::kTransient, "it answered 404"},
      {"another path of its server",
       {404, R"({"error_code":404,"message":"no resource"})"},
       ErrorKind::kTransient,
       "it answered 404: no resource"},
      {"no login",
       {401, R"({"error_code":401,"message":"Unauthorized"})"},
       ErrorKind::kTransient,
       "it answered 401: Unauthorized"},
      {"forbidden", {403, ""}, ErrorKind::kTransient, "it answered 403"},
      {"its store is down",
       {500, R"({"error_code":50001,"message":"store"})"},
       ErrorKind::kTransient,
       "it answered 500: store"},
      {"no JSON", {200, "hello"}, ErrorKind::kTransient, "is the URL that of a registry's API?"},
      {"no schema", {200, "{}"}, ErrorKind::kTransient, "is the URL that of a registry's API?"},
      {"a schema that is no text", {200, R"({"schema":{}})"}, ErrorKind::kTransient, "no schema: '{\"schema\":{}}'"},
      {"a broken reference",
       {200, R"({"schema":"a","references":[{"name":"x"}]})"},
       ErrorKind::kTransient,
       "is the URL that of a registry's API?"},
      {"nested deep", {200, std::string(100'000, '[')}, ErrorKind::kTransient, "no schema: '[[["},
      {"unknown language",
       {200, R"({"schema":"a","schemaType":"THRIFT"})"},
       ErrorKind::kInvalidInput,
       "schema id 7 is of the type 'THRIFT', which is not known"},
      {"a reference that is gone",
       {200, R"({"schema":"a","references":[{"name":"x.proto","subject":"x","version":9}]})"},
       ErrorKind::kInvalidInput,
       "schema id 7 refers to 'x.proto': the registry "},
      {"dropped", {.drop = true}, ErrorKind::kTransient, "cannot be had from the schema registry"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    replies_["/api/schemas/ids/7"] = c.reply;
    const auto schema = client_.SchemaOfId(7);
    MILLRACE_ASSERT_KIND(c.kind, schema);
    EXPECT_THAT(schema.status().message(), HasSubstr(c.message));
  }
}

TEST_F(RegistryClientTest, SizesAreBounded) {
  const std::string fits(ingest::kMaxSchemaBytes, 'a');
  replies_["/api/schemas/ids/1"].body = R"({"schema":")" + fits + R"("})";
  replies_["/api/schemas/ids/2"].body = R"({"schema":"a)" + fits + R"("})";
  replies_["/api/schemas/ids/3"].body = R"({"schema":")" + fits + fits + fits + R"("})";
  replies_["/api/schemas/ids/4"].body = R"({"schema":"a","references":[{"name":"x","subject":"x","version":1}]})";
  replies_["/api/subjects/x/versions/1"].body = replies_["/api/schemas/ids/1"].body;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto schema, client_.SchemaOfId(1));
  EXPECT_EQ(schema.text.size(), ingest::kMaxSchemaBytes);
  for (const std::uint32_t id : {2, 3, 4}) {
    SCOPED_TRACE(id);
    const auto large = client_.SchemaOfId(id);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, large);
    EXPECT_THAT(large.status().message(), HasSubstr("more than"));
  }
  // Each refers to the next, for ever.
  StubHttpServer endless([](const StubRequest& request) {
    const auto at = request.target.rfind('/');
    const int version = std::atoi(request.target.c_str() + at + 1) + 1;
    return StubReply{
        200, fmt::format(R"({{"schema":"a","references":[{{"name":"r{0}","subject":"s","version":{0}}}]}})", version)};
  });
  RegistryClient client({.urls = {endless.url()}});
  const auto many = client.SchemaOfId(1);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, many);
  EXPECT_THAT(many.status().message(), HasSubstr("refers to more than 1000 others"));
}

TEST_F(RegistryClientTest, LoginsAreSent) {
  replies_["/api/schemas/ids/1"].body = R"({"schema":"a"})";
  RegistryClient basic({.urls = {server_.url() + "/api"}, .username = "u", .password = "p:w"});
  RegistryClient bearer({.urls = {server_.url() + "/api"}, .bearer = "token"});
  MILLRACE_ASSERT_OK(basic.SchemaOfId(1).status());
  MILLRACE_ASSERT_OK(bearer.SchemaOfId(1).status());
  MILLRACE_ASSERT_OK(client_.SchemaOfId(1).status());
  const auto requests = server_.requests();
  ASSERT_EQ(requests.size(), 3u);
  EXPECT_EQ(requests[0].headers.at("authorization"), "Basic dTpwOnc=");
  EXPECT_EQ(requests[1].headers.at("authorization"), "Bearer token");
  EXPECT_FALSE(requests[2].headers.contains("authorization"));
}

TEST_F(RegistryClientTest, TheNextIsAskedWhenOneDoesNotAnswer) {
  replies_["/api/schemas/ids/1"].body = R"({"schema":"a"})";
  auto broken = std::make_unique<StubHttpServer>([](const StubRequest&) { return StubReply{503, "busy"}; });
  RegistryClient client({.urls = {broken->url(), server_.url() + "/api"}});
  MILLRACE_ASSERT_OK(client.SchemaOfId(1).status());
  MILLRACE_ASSERT_OK(client.SchemaOfId(1).status());
  EXPECT_EQ(broken->requests().size(), 1u) << "the one that answered is asked first";
  // A no is an answer.
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, client.SchemaOfId(2));
}

TEST_F(RegistryClientTest, ASchemaIsRegistered) {
  replies_["/api/subjects/a%2Fb-value/versions"].body = R"({"id":41})";
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto id,
                                client_.Register("a/b-value", ingest::SchemaLanguage::kProtobuf, "x \"y\""));
  EXPECT_EQ(id, 41u);
  const auto request = server_.requests().at(0);
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.body, R"({"schemaType":"PROTOBUF","schema":"x \"y\""})");
  EXPECT_EQ(request.headers.at("content-type"), "application/vnd.schemaregistry.v1+json");
}

TEST_F(RegistryClientTest, ASchemaThatIsNotTakenIsNoOutage) {
  const std::string target = "/api/subjects/clicks-value/versions";
  const auto status_of = [&](StubReply reply) {
    replies_[target] = std::move(reply);
    return client_.Register("clicks-value", ingest::SchemaLanguage::kAvro, "{}").status();
  };
  const Status other = status_of({409, R"({"error_code":409,"message":"READER_FIELD_MISSING"})"});
  EXPECT_EQ(KindOf(other), ErrorKind::kInvalidInput);
  EXPECT_THAT(other.message(), HasSubstr("does not take a schema for the subject clicks-value: READER_FIELD_MISSING"));
  EXPECT_EQ(KindOf(status_of({422, R"({"error_code":42201,"message":"no schema"})"})), ErrorKind::kInvalidInput);
  EXPECT_EQ(KindOf(status_of({409, "<html>a proxy's</html>"})), ErrorKind::kTransient);
  EXPECT_EQ(KindOf(status_of({200, R"({"id":-1})"})), ErrorKind::kTransient);
  EXPECT_EQ(KindOf(status_of({200, R"({"id":"7"})"})), ErrorKind::kTransient);
}

}  // namespace
}  // namespace millrace::registry
