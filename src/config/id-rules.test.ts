import { describe, expect, it } from 'vitest';
import {
  idMachineProblem,
  idSchemesProblem,
  idTagsProblem,
  idTemplatesProblem,
  parseIdMachine,
  parseIdSchemes,
  parseIdTags,
  parseIdTemplates,
} from './id-rules.js';

describe('rules of the id service', () => {
  it('name a tag, which may hold colons, its step and its maximum', () => {
    expect(parseIdTags(['order:1000:0', 'a:b:5:99', '*:1:9007199254740990'])).toEqual([
      { tag: 'order', stepCount: 1000, maxId: 0 },
      { tag: 'a:b', stepCount: 5, maxId: 99 },
      { tag: '*', stepCount: 1, maxId: 9_007_199_254_740_990 },
    ]);
  });

  it.each([
    ['order', 'must be name:step:max'],
    ['order:0:5', 'a step of 1 to 1000000'],
    ['order:1000001:5', 'a step of 1 to 1000000'],
    ['order:1:9007199254740991', 'a maximum of 0 (none) to 9007199254740990'],
    ['or der:1:5', 'must be name:step:max'],
  ])('refuse %s and say why', (rule, why) => {
    expect(idTagsProblem([rule])).toContain(why);
    expect(idTagsProblem([rule])).toContain(rule);
    expect(() => parseIdTags([rule])).toThrow(expect.objectContaining({ code: 'BAD_ID_RULE' }));
  });

  it('are one per tag', () => {
    expect(idTagsProblem(['a:1:0', 'a:2:0'])).toContain('one rule per tag');
    expect(idTemplatesProblem(['a={seq:3}', 'a={seq:4}'])).toContain('one rule per tag');
  });

  it('give a tag its template', () => {
    expect([...parseIdTemplates(['order=ORD-{seq:6}', '*={tag}-{seq:4}'])]).toEqual([
      ['order', 'ORD-{seq:6}'],
      ['*', '{tag}-{seq:4}'],
    ]);
    expect(idTemplatesProblem(['order'])).toContain('must be name=template');
    expect(idTemplatesProblem(['order='])).toContain('must be name=template');
  });

  it('say where a machine id comes from', () => {
    expect(parseIdMachine('lease')).toEqual({ kind: 'lease' });
    expect(parseIdMachine('private-ip')).toEqual({ kind: 'private-ip' });
    expect(parseIdMachine('65535')).toEqual({ kind: 'configured', machineId: 65_535 });
    expect(parseIdMachine('file:/etc/machine')).toEqual({ kind: 'file', path: '/etc/machine' });
    for (const wrong of ['65536', 'file:', 'leased', '-1', '1.5']) expect(idMachineProblem(wrong)).toContain('must be');
  });

  it('name schemes; none means all', () => {
    expect(parseIdSchemes([])).toHaveLength(8);
    expect(parseIdSchemes(['segment'])).toEqual(['segment']);
    expect(idSchemesProblem(['segmnt'])).toContain('snowflake, sonyflake');
  });
});
