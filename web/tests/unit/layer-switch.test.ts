import { expect, test } from 'vitest';
import { type EncodingSender, LayerSwitch } from '../../sdk/layer-switch.ts';

/** A sender that takes a while to change, as browsers do. */
class FakeSender {
  encodings: RTCRtpEncodingParameters[];
  refusals = 0;
  changes = 0;

  constructor(...rids: (string | undefined)[]) {
    this.encodings = rids.map((rid) => ({ active: true, ...(rid === undefined ? {} : { rid }) }));
  }

  getParameters(): RTCRtpSendParameters {
    return structuredClone({ encodings: this.encodings }) as RTCRtpSendParameters;
  }

  async setParameters({ encodings }: RTCRtpSendParameters): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 1));
    if (this.refusals > 0) {
      this.refusals -= 1;
      throw new DOMException('the parameters were changed', 'InvalidModificationError');
    }
    this.changes += 1;
    this.encodings = encodings;
  }

  get active(): boolean[] {
    return this.encodings.map(({ active }) => active ?? true);
  }

  get asSender(): EncodingSender {
    return this;
  }
}

test('the layers that nobody wants rest, and wake again', async () => {
  const sender = new FakeSender('q', 'h', 'f');
  const layers = new LayerSwitch(sender.asSender);

  await layers.set([
    { id: 'q', wanted: true },
    { id: 'h', wanted: false },
    { id: 'f', wanted: false },
  ]);
  expect(sender.active).toEqual([true, false, false]);

  await layers.set([
    { id: 'q', wanted: true },
    { id: 'h', wanted: true },
    { id: 'f', wanted: false },
  ]);
  expect(sender.active).toEqual([true, true, false]);
});

test('what changes nothing touches nothing', async () => {
  const sender = new FakeSender('q', 'f');

  await new LayerSwitch(sender.asSender).set([
    { id: 'q', wanted: true },
    { id: 'other', wanted: false },
  ]);

  expect(sender.changes).toBe(0);
});

test('the newest word counts when several come at once', async () => {
  const sender = new FakeSender('f');
  const layers = new LayerSwitch(sender.asSender);

  const all = [false, true, false, true, false].map((wanted) => layers.set([{ id: 'f', wanted }]));
  await Promise.all(all);

  expect(sender.active).toEqual([false]);
  expect(sender.changes).toBeLessThan(all.length);
});

test('a layer without a name is the only one', async () => {
  const sender = new FakeSender(undefined);

  await new LayerSwitch(sender.asSender).set([{ id: '', wanted: false }]);

  expect(sender.active).toEqual([false]);
});

test('layers are bounded without being woken, and rest without losing their bounds', async () => {
  const sender = new FakeSender('q', 'f');
  const layers = new LayerSwitch(sender.asSender);
  await layers.set([{ id: 'f', wanted: false }]);

  await layers.bound(new Map([['f', 3_000_000]]));
  expect(sender.encodings).toEqual([
    { rid: 'q', active: true },
    { rid: 'f', active: false, maxBitrate: 3_000_000 },
  ]);
  await Promise.all([layers.bound(new Map([['q', 80_000]])), layers.set([{ id: 'f', wanted: true }])]);

  expect(sender.encodings).toEqual([
    { rid: 'q', active: true, maxBitrate: 80_000 },
    { rid: 'f', active: true, maxBitrate: 3_000_000 },
  ]);
});

test('parameters that were changed meanwhile are read again, but not for ever', async () => {
  const busy = new FakeSender('f');
  busy.refusals = 2;
  const broken = new FakeSender('f');
  broken.refusals = 100;

  await new LayerSwitch(busy.asSender).set([{ id: 'f', wanted: false }]);
  await new LayerSwitch(broken.asSender).set([{ id: 'f', wanted: false }]);

  expect(busy.active).toEqual([false]);
  expect([broken.active, broken.refusals]).toEqual([[true], 97]);
});
