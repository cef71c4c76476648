"""Local servers that speak the vendors' protocols over real HTTP on loopback: OpenAI, Replicate and RunPod, with scripted faults.

    with OpenAIServer() as server:                      # or the fixture openai_server
        client = openai.OpenAI(base_url=server.url, api_key="any")
        server.script("chat", "429_after", "ok", "reset")   # the next requests, one each; then what `always` says
        server.nth("chat", 7, "500")
        server.set(latency=(0.1, 0.2), requests_per_minute=600, key="sk-right")
        ...
        server.requests, server.counts, server.refused, server.violations, server.most_in_flight

The faults stand in `tests.fakes.faults.FAULTS`; `python -m tests.fakes` runs the servers in a process of their own, which is
then scripted through /_fake/script, /_fake/settings and /_fake/reset and looked at through /_fake/state and /_fake/requests.
"""
