// A whole session, where its parts have to come together.
#include "proxy/session/client_session.hpp"

#include "tests/support/session_world.hpp"

namespace pgsteer::proxy {
namespace {

using namespace std::string_literals;
using support::message;
using support::ScriptedServers;
using testing::HasSubstr;

struct WithServers {
    ScriptedServers servers{support::Fault{}};
};

// The fixture's own client and rooms are not used: the session has its own.
class ClientSessionTest : private WithServers, public SessionWorld {
protected:
    ClientSessionTest()
        : SessionWorld{[this](conf::Config& config) {
              config.servers[0].host = servers.host(ScriptedServers::primary);
              config.servers[1].host = servers.host(ScriptedServers::replica);
              config.databases.push_back({.name = "app", .server_name = {}});
              config.auth.users.emplace_back().name = "joe";
          }} {
        catalog()->tried();  // a login waits for no look at it
        worker_.around.clients().came();
        session_->start();
        says(message(0, "\0\3\0\0user\0joe\0database\0app\0\0"s), ready('I'));
    }
    ~ClientSessionTest() override {
        session_->stop();
        run_until([this] { return worker_.around.clients().get() == 0; });
    }
    // Until the client has heard `answer`.
    void says(std::string_view bytes, const std::string& answer) {
        end_.say(bytes);
        heard_.clear();
        hears(answer);
    }
    void hears(const std::string& answer) {
        run_until([&] {
            heard_ += end_.heard();
            return heard_.find(answer) != std::string::npos;
        });
    }
    static std::string ready(char status) { return message('Z', std::string(1, status)); }

    OtherEnd end_{base().io};
    std::string heard_;
    std::shared_ptr<ClientSession> session_ =
        std::make_shared<ClientSession>(worker_.around, lodging_.generation, end_.take());
};

TEST_F(ClientSessionTest, DrainsWhenATransactionHasEndedThatNoServerHad) {
    says(query("begin read only"), ready('T'));
    session_->drain();
    end_.say(query("commit"));
    hears("C57P01");
    EXPECT_THAT(heard_, HasSubstr(ready('I'))) << "behind the answer";
}

// Thousands of sessions may be idle at a time, each with connections of its own: what is needed
// only while a request is under way is made, or lent, when it begins. Whoever needs more room for
// good says so here, and in tests/bench/README.md.
static_assert(sizeof(ClientSession) <= 3'840);
static_assert(sizeof(ServerConnection) <= 1'024);

}  // namespace
}  // namespace pgsteer::proxy
