#include "conf/text.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace pgsteer::conf {
namespace {

class EnvironmentText : public testing::Test {
protected:
    void SetUp() override {
        setenv("PGSTEER_TEST_NAME", "alice", 1);
        setenv("PGSTEER_TEST_EMPTY", "", 1);
        setenv("PGSTEER_TEST_NESTED", "${PGSTEER_TEST_NAME}", 1);
        unsetenv("PGSTEER_TEST_UNSET");
    }
    void TearDown() override {
        for (const char* name : {"PGSTEER_TEST_NAME", "PGSTEER_TEST_EMPTY", "PGSTEER_TEST_NESTED"})
            unsetenv(name);
    }
};

TEST_F(EnvironmentText, IsPutInPlaceOfItsName) {
    EXPECT_EQ(expand_environment("a ${PGSTEER_TEST_NAME} b${PGSTEER_TEST_NAME}").value,
              "a alice balice");
    EXPECT_EQ(expand_environment("<${PGSTEER_TEST_EMPTY}>").value, "<>");
}

TEST_F(EnvironmentText, IsNotExpandedTwice) {
    EXPECT_EQ(expand_environment("${PGSTEER_TEST_NESTED}").value, "${PGSTEER_TEST_NAME}");
}

TEST_F(EnvironmentText, LeavesOtherDollarSignsAlone) {
    EXPECT_EQ(expand_environment("$HOME $ $$ 5$").value, "$HOME $ $$ 5$");
    EXPECT_EQ(expand_environment("$${PGSTEER_TEST_NAME}").value, "${PGSTEER_TEST_NAME}");
    EXPECT_EQ(expand_environment("$${").value, "${");
}

TEST_F(EnvironmentText, ThatIsUnsetIsAnError) {
    EXPECT_EQ(expand_environment("x${PGSTEER_TEST_UNSET}").error,
              "the environment variable PGSTEER_TEST_UNSET is not set");
}

TEST_F(EnvironmentText, NeedsANameAndAClosingBrace) {
    for (const std::string text :
         {"${", "${}", "${PGSTEER_TEST_NAME", "${1A}", "${A-B}", "${ A}"}) {
        EXPECT_FALSE(expand_environment(text).value) << text;
        EXPECT_EQ(expand_environment(text).error,
                  "'${' must be followed by the name of an environment variable and '}' "
                  "(write $${ for a plain ${)");
    }
}

TEST(Files, AreReadWholeUpToALimit) {
    const std::string path = testing::TempDir() + "pgsteer_text_test";
    std::ofstream{path, std::ios::binary} << "one\ntwo\n";
    EXPECT_EQ(read_file(path, 8).value, "one\ntwo\n");
    EXPECT_EQ(read_file(path, 7).error, "is larger than 7 bytes");
    std::remove(path.c_str());
    EXPECT_EQ(read_file(path, 8).error, "cannot be read: No such file or directory");
    EXPECT_EQ(read_file("/", 8).error, "cannot be read: Is a directory");
}

TEST(Suggestions, AreTheNearestWordWithFewSlips) {
    const std::vector<std::string> keys{"port", "address", "max_clients", "login_timeout"};
    EXPECT_EQ(nearest("prot", keys), "port");
    EXPECT_EQ(nearest("adress", keys), "address");
    EXPECT_EQ(nearest("MaxClients", keys), "max_clients");
    EXPECT_EQ(nearest("max-clients", keys), "max_clients");
    EXPECT_EQ(nearest("logintimeout", keys), "login_timeout");
    EXPECT_EQ(nearest("colour", keys), std::nullopt);
    EXPECT_EQ(nearest("", keys), std::nullopt);
    EXPECT_EQ(nearest(std::string(100'000, 'p'), keys), std::nullopt);
}

TEST(Printable, KeepsMessagesOnOneShortLine) {
    EXPECT_EQ(printable("a\nb\x01\x7f"), "a\\x0ab\\x01\\x7f");
    EXPECT_EQ(printable(std::string(61, 'x')), std::string(60, 'x') + "...");
}

}  // namespace
}  // namespace pgsteer::conf
