"""Multi-objective methods as pure functions ``(losses, signals, state) -> weights``.

A method is a factory with keyword arguments that returns a `Weighting`: two pure functions `init`
and `update`, and the names of the `SIGNALS` that `update` requires. Weights of ``scale='mean'`` sum
to 1, those of ``scale='sum'`` to the number of tasks that are present.

By what they read, in the order of what a step then costs:

- losses: `equal`, `fixed`, `random`, `uncertainty`, `imtl_l`, `dwa`, `geometric`, `stch`,
  `go4align`, `ldc_mtl`, `pbi`, `cosmos`, `uw_so`;
- losses after the step, or on validation data: `famo`, `coba`;
- norms of the per-task gradients: `gradnorm`, `db_mtl`;
- their Gramian: `mgda`, `dual_proj`, `upgrad`, `cagrad`, `nash_mtl`, `fairgrad`, `imtl_g`,
  `aligned_mtl`, `config`, `conic_grad`, `pcgrad`, `gradvac`, `krum`, `pcd`;
- products of gradients of two batches: `modo`, `sdmgrad`;
- products with validation gradients: `auto_lambda`, `moml`.

`METHODS` has them by name. `mtljax.weighting.wrappers` makes weightings of weightings. `guard`
makes a `Weighting` of the formulas of a method of your own, and `finite_tasks` says of which tasks
a step had finite numbers.
"""

from mtljax.weighting.aligned_mtl import aligned_mtl as aligned_mtl
from mtljax.weighting.auto_lambda import auto_lambda as auto_lambda
from mtljax.weighting.cagrad import cagrad as cagrad
from mtljax.weighting.coba import coba as coba
from mtljax.weighting.common.contract import SIGNALS as SIGNALS
from mtljax.weighting.common.contract import Weighting as Weighting
from mtljax.weighting.common.guard import finite_tasks as finite_tasks
from mtljax.weighting.common.guard import guard as guard
from mtljax.weighting.conflict_free import config as config
from mtljax.weighting.conic_grad import conic_grad as conic_grad
from mtljax.weighting.cosmos import cosmos as cosmos
from mtljax.weighting.db_mtl import db_mtl as db_mtl
from mtljax.weighting.dual_proj import dual_proj as dual_proj
from mtljax.weighting.dwa import dwa as dwa
from mtljax.weighting.equal import equal as equal
from mtljax.weighting.fairgrad import fairgrad as fairgrad
from mtljax.weighting.famo import famo as famo
from mtljax.weighting.fixed import fixed as fixed
from mtljax.weighting.geometric import geometric as geometric
from mtljax.weighting.go4align import go4align as go4align
from mtljax.weighting.gradnorm import gradnorm as gradnorm
from mtljax.weighting.gradvac import gradvac as gradvac
from mtljax.weighting.imtl_g import imtl_g as imtl_g
from mtljax.weighting.imtl_l import imtl_l as imtl_l
from mtljax.weighting.krum import krum as krum
from mtljax.weighting.ldc_mtl import ldc_mtl as ldc_mtl
from mtljax.weighting.mgda import mgda as mgda
from mtljax.weighting.modo import modo as modo
from mtljax.weighting.moml import moml as moml
from mtljax.weighting.nash_mtl import nash_mtl as nash_mtl
from mtljax.weighting.pbi import pbi as pbi
from mtljax.weighting.pcd import pcd as pcd
from mtljax.weighting.pcgrad import pcgrad as pcgrad
from mtljax.weighting.random import random as random
from mtljax.weighting.sdmgrad import sdmgrad as sdmgrad
from mtljax.weighting.stch import stch as stch
from mtljax.weighting.uncertainty import uncertainty as uncertainty
from mtljax.weighting.upgrad import upgrad as upgrad
from mtljax.weighting.uw_so import uw_so as uw_so

METHODS = {
    "aligned_mtl": aligned_mtl,
    "auto_lambda": auto_lambda,
    "cagrad": cagrad,
    "coba": coba,
    "config": config,
    "conic_grad": conic_grad,
    "cosmos": cosmos,
    "db_mtl": db_mtl,
    "dual_proj": dual_proj,
    "dwa": dwa,
    "equal": equal,
    "fairgrad": fairgrad,
    "famo": famo,
    "fixed": fixed,
    "geometric": geometric,
    "go4align": go4align,
    "gradnorm": gradnorm,
    "gradvac": gradvac,
    "imtl_g": imtl_g,
    "imtl_l": imtl_l,
    "krum": krum,
    "ldc_mtl": ldc_mtl,
    "mgda": mgda,
    "modo": modo,
    "moml": moml,
    "nash_mtl": nash_mtl,
    "pbi": pbi,
    "pcd": pcd,
    "pcgrad": pcgrad,
    "random": random,
    "sdmgrad": sdmgrad,
    "stch": stch,
    "uncertainty": uncertainty,
    "upgrad": upgrad,
    "uw_so": uw_so,
}
"""From the name on the command line to the factory."""
