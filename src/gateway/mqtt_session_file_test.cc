// The memory of a session at a broker: it outlives the process, is of one session, and damage is told.
#include "gateway/mqtt_session_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "testing/status_matchers.h"

namespace millrace::gateway {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

class GatewayMqttSessionFile : public ::testing::Test {
 protected:
  ~GatewayMqttSessionFile() override { fs::remove_all(folder_); }
  MqttSessionFile Open(const std::string& session = "gateway@broker:1883") { return {path_, session}; }

  const fs::path folder_ = fs::temp_directory_path() / ("millrace-mqtt-session-" + std::to_string(::getpid()));
  const std::string path_ = folder_ / "state" / "mqtt.json";
};

TEST_F(GatewayMqttSessionFile, KnowsWhatWasWrittenOfItsOwnSession) {
  EXPECT_EQ(*Open().Read(), MqttSubscriptions());
  const MqttSubscriptions written{.asked = {"a/+", "$share/g/\"b\"\n/#"}, .granted = {"a/+"}};
  MILLRACE_ASSERT_OK(Open().Write(written));
  EXPECT_EQ(*Open().Read(), written);
  EXPECT_EQ(*Open("another@broker:1883").Read(), MqttSubscriptions());
  MILLRACE_ASSERT_OK(Open().Write({}));
  EXPECT_EQ(*Open().Read(), MqttSubscriptions());
}

TEST_F(GatewayMqttSessionFile, WithoutAPathNothingIsKept) {
  const MqttSessionFile none("", "gateway@broker:1883");
  MILLRACE_ASSERT_OK(none.Write({.asked = {"a"}, .granted = {}}));
  EXPECT_EQ(*none.Read(), MqttSubscriptions());
}

TEST_F(GatewayMqttSessionFile, DamageAndADiskThatRefusesAreNamed) {
  MILLRACE_ASSERT_OK(Open().Write({}));
  for (const char* text : {"", "[]", R"({"session": "gateway@broker:1883", "asked": [1], "granted": []})", "{\"sess",
                           R"({"session": "gateway@broker:1883", "asked": ["a/#/b"], "granted": []})"}) {
    std::ofstream(path_, std::ios::trunc) << text;
    const auto read = Open().Read();
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, read);
    EXPECT_THAT(read.status().message(), HasSubstr(path_ + " is damaged; remove it"));
  }
  fs::remove(path_);
  fs::create_directory(path_);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, Open().Read());
  fs::remove_all(folder_);
  std::ofstream(folder_.string()) << "a file where the folder should be";
  const Status written = Open().Write({});
  EXPECT_EQ(KindOf(written), ErrorKind::kTransient);
  EXPECT_THAT(written.message(), HasSubstr(path_ + " cannot be written"));
}

}  // namespace
}  // namespace millrace::gateway
