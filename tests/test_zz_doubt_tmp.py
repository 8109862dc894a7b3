from edgeagent.alerts.link_types import Subscription
from edgeagent.demo.mosquitto_conf import REVOCATION_DESK
from edgeagent.controlroom.lease_holder import read_state
from edgeagent.alerts.topics import Topics
from tests.bench_unit import CLOCK, Officers, UNIT
from tests.broker_tools import receive, wait_for
pytest_plugins = ["tests.bench_fixtures"]
def test_it(bench):
    bench.put()
    link = bench.broker.connected_link(REVOCATION_DESK, Subscription("lfr-bench/v1/+/state", accept_retained=True))
    def state():
        m = receive(link, 20); return read_state(m.topic, m.payload, bench.office.trust(), CLOCK.now())
    with Officers(bench):
        with bench.unit() as u:
            assert wait_for(lambda: state().alerts.pending > 0, 60)
            link.publish(Topics(UNIT, bench=True).revocation, bench.revocation(deployment="some-older-one"), retain=True)
            for _ in range(4): s = state()
            print("connected:", s.state, s.alerts)
            u.kill()
        with bench.unit():
            for _ in range(6): s = state(); print("after restart:", s.boot[:4], s.state, s.deployment, s.alerts)
