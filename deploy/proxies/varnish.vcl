# Sayonce behind Varnish, as /etc/varnish/default.vcl. docs/proxies.md says why each line is there.
vcl 4.1;

backend sayonce {
    .host = "127.0.0.1";
    .port = "8080";
    .connect_timeout = 5s;
    .first_byte_timeout = 300s;
    .between_bytes_timeout = 300s;
}

sub vcl_recv {
    # The same under a path: clients use https://tts.example.com/speech/v1. Leave these two out if you need none.
    if (req.url == "/speech") {
        return (synth(308, "/speech/"));
    }
    set req.url = regsub(req.url, "^/speech/", "/");

    # Nothing is kept here: who may hear a clip depends on Authorization, which speech on the body of a POST,
    # and the same answer from Sayonce's memory takes a fraction of a millisecond.
    return (pass);
}

sub vcl_synth {
    if (resp.status == 308) {
        set resp.http.Location = resp.reason;
        set resp.reason = "Permanent Redirect";
        return (deliver);
    }
}
