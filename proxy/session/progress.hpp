// How far the requests in flight have got, and waiting for that.
#pragma once

#include "proxy/io/asio.hpp"
#include "proxy/session/client.hpp"
#include "proxy/session/course.hpp"
#include "proxy/session/lodging.hpp"
#include "proxy/session/sides.hpp"

namespace pgsteer::proxy {

// Changes nothing but what ask_for_answers() and doubt_settled() say. Worker-local.
class Progress {
public:
    Progress(const Lodging& lodging, Client& client, Course& course, Sides& sides)
        : lodging_{lodging}, client_{client}, course_{course}, sides_{sides} {}
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    // A server waits for copy data: it accepts nothing else, whatever comes.
    [[nodiscard]] bool is_copying_in() const;
    // So much is owed that no more is asked for before some of it has come.
    [[nodiscard]] bool is_pipeline_full() const;
    // The client's batch is a Sync or Flush by itself, and the request that it ends, or asks
    // answers of, is on a connection that is held: it goes there, whatever decide() would say.
    [[nodiscard]] bool follows_its_request() const;
    // Of a batch that uses names of which it is not certain what they mean: requests in flight have
    // yet to tell, for what is skipped in them changes nothing. Not so if the batch goes on with
    // the only one: then it is skipped as well.
    [[nodiscard]] bool waits_for_names() const;

    // Waits until no request is in flight and none is being run again, but for an open one to which
    // nothing more is owed. Also returns when that cannot be without more of the client (COPY FROM
    // STDIN, or up to its Sync all is skipped), and when the session ends: ask again.
    awaitable<void> answered() const;
    // A server keeps its answers to what has no Sync yet until it is asked for them.
    void ask_for_answers(const Request& request) const;
    // Behind a copy that has failed, with Syncs between its data: waits until it is known which of
    // them the server answers. One that it has read behind the error is answered at once; if
    // nothing comes within 50 ms it has ignored them all, and skips what comes now up to the next
    // Sync.
    awaitable<void> doubt_settled() const;
    [[nodiscard]] bool is_in_doubt() const;

private:
    [[nodiscard]] bool is_answered() const;

    // All of them outlive it.
    const Lodging& lodging_;
    Client& client_;
    Course& course_;
    Sides& sides_;
};

}  // namespace pgsteer::proxy
